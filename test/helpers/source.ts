/*
 * A matrix as a source of weights hands it over: in pieces.
 */
import type { Matrix } from "../../src/llama2/transformer.ts";
import type { LoadMatrix, WeightSource } from "../../src/llama2/weights.ts";

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

/** What `load` makes of these numbers. */
export function loadMatrix(load: LoadMatrix, { d, n, piece, values }: Numbers): Promise<Matrix> {
  async function* pieces() {
    for (let offset = 0; offset < values.length; offset += piece) {
      yield { offset, values: values.slice(offset, offset + piece) };
    }
  }
  return load({ formatOf: () => "float32", pieces } as unknown as WeightSource, "wq", 0, d, n);
}

/** The same for int8. */
export function loadQuantized(load: LoadMatrix, numbers: QuantizedNumbers): Promise<Matrix> {
  const { d, n, piece, groupSize, q, s } = numbers;
  async function* pieces() {
    for (let group = 0; group < s.length; group += piece) {
      const offset = group * groupSize;
      yield { offset, q: q.slice(offset, offset + piece * groupSize), scales: s.slice(group, group + piece) };
    }
  }
  return load({ formatOf: () => ({ groupSize }), pieces } as unknown as WeightSource, "wq", 0, d, n);
}
