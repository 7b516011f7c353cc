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
export function loadMatrix<M>(layout: MatrixLayout<M>, { d, n, piece, values }: Numbers): M {
  const read: WeightSource["read"] = (_name, _layer, fill) => {
    for (let at = 0; at < values.length; at += piece) fill(values.slice(at, at + piece), at);
  };
  return layout.load({ groupSize: 0, read } as WeightSource, "wq", 0, d, n);
}

/** The same for a layout of int8. */
export function loadQuantized<M>(layout: MatrixLayout<M>, { d, n, piece, groupSize, q, s }: QuantizedNumbers): M {
  const readQuantized: WeightSource["readQuantized"] = (_name, _layer, fill) => {
    for (let group = 0; group < s.length; group += piece) {
      const at = group * groupSize;
      fill(q.slice(at, at + piece * groupSize), s.slice(group, group + piece), at);
    }
  };
  return layout.load({ groupSize, readQuantized } as WeightSource, "wq", 0, d, n);
}
