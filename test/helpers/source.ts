/*
 * A matrix as a source of weights hands it over: in pieces.
 */
import type { MatrixLayout, WeightSource } from "../../src/llama2/weights.ts";

/** The numbers of a matrix of d rows and n columns, and how many of them a piece has. */
export interface Numbers {
  d: number;
  n: number;
  piece: number;
  values: Float32Array;
}

/** The same in int8. A piece has `piece` groups. */
export interface QuantizedNumbers {
  d: number;
  n: number;
  groupSize: number;
  piece: number;
  q: Int8Array;
  s: Float32Array;
}

/** The layout's matrix with these numbers. */
export function loadMatrix<M>(layout: MatrixLayout<M>, { d, n, piece, values }: Numbers): Promise<M> {
  async function* pieces() {
    for (let offset = 0; offset < values.length; offset += piece) {
      yield { offset, values: values.slice(offset, offset + piece) };
    }
  }
  return layout.load({ formatOf: () => "float32", pieces } as unknown as WeightSource, "wq", 0, d, n);
}

/** The same for a layout of int8. */
export function loadQuantized<M>(layout: MatrixLayout<M>, numbers: QuantizedNumbers): Promise<M> {
  const { d, n, piece, groupSize, q, s } = numbers;
  async function* pieces() {
    for (let group = 0; group < s.length; group += piece) {
      const offset = group * groupSize;
      yield { offset, q: q.slice(offset, offset + piece * groupSize), scales: s.slice(group, group + piece) };
    }
  }
  return layout.load({ formatOf: () => ({ groupSize }), pieces } as unknown as WeightSource, "wq", 0, d, n);
}
