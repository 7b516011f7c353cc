/*
 * The ts backend's layout of float32 matrices: panels of eight rows.
 *
 * A float32 sum in run.c's order is a chain: each addition waits for the one before, so with one row at a time the
 * processor mostly waits. Eight rows are eight independent chains, and x[j] is read once for all of them. Each row is
 * still added in its own order, so the result is matmul's, bit for bit.
 *
 * So that the eight numbers of a column lie side by side, rows are kept in panels of eight, column by column:
 *
 *     row 0: a0 a1 a2 ...
 *     row 1: b0 b1 b2 ...     ->   a0 b0 .. h0  a1 b1 .. h1  a2 b2 .. h2 ...
 *     row 7: h0 h1 h2 ...
 */
import { f32 } from "../../llama2/math.ts";
import { floatPieces, type LoadMatrix } from "../../llama2/weights.ts";

const PANEL = 8;

/** A matrix in panels of eight rows. Rows past the last one are zeros. */
export interface Panels {
  data: Float32Array; // (ceil(d / 8), n, 8)
  d: number;
  n: number;
}

/** xout (d) = w (d, n) @ x (n), as matmul in transformer.ts. */
export function matmul(xout: Float32Array, x: Float32Array, { data: w, d, n }: Panels): void {
  for (let i = 0, at = 0; i < d; i += PANEL) {
    let sum0 = 0;
    let sum1 = 0;
    let sum2 = 0;
    let sum3 = 0;
    let sum4 = 0;
    let sum5 = 0;
    let sum6 = 0;
    let sum7 = 0;
    // two columns per step: half the loop overhead
    let j = 0;
    for (; j + 1 < n; j += 2, at += 2 * PANEL) {
      const x0 = x[j];
      const x1 = x[j + 1];
      sum0 = f32(f32(sum0 + f32(w[at] * x0)) + f32(w[at + 8] * x1));
      sum1 = f32(f32(sum1 + f32(w[at + 1] * x0)) + f32(w[at + 9] * x1));
      sum2 = f32(f32(sum2 + f32(w[at + 2] * x0)) + f32(w[at + 10] * x1));
      sum3 = f32(f32(sum3 + f32(w[at + 3] * x0)) + f32(w[at + 11] * x1));
      sum4 = f32(f32(sum4 + f32(w[at + 4] * x0)) + f32(w[at + 12] * x1));
      sum5 = f32(f32(sum5 + f32(w[at + 5] * x0)) + f32(w[at + 13] * x1));
      sum6 = f32(f32(sum6 + f32(w[at + 6] * x0)) + f32(w[at + 14] * x1));
      sum7 = f32(f32(sum7 + f32(w[at + 7] * x0)) + f32(w[at + 15] * x1));
    }
    for (; j < n; j++, at += PANEL) {
      const xj = x[j];
      sum0 = f32(sum0 + f32(w[at] * xj));
      sum1 = f32(sum1 + f32(w[at + 1] * xj));
      sum2 = f32(sum2 + f32(w[at + 2] * xj));
      sum3 = f32(sum3 + f32(w[at + 3] * xj));
      sum4 = f32(sum4 + f32(w[at + 4] * xj));
      sum5 = f32(sum5 + f32(w[at + 5] * xj));
      sum6 = f32(sum6 + f32(w[at + 6] * xj));
      sum7 = f32(sum7 + f32(w[at + 7] * xj));
    }
    // a store past the end of a typed array does nothing, so the last panel needs no special care
    xout[i] = sum0;
    xout[i + 1] = sum1;
    xout[i + 2] = sum2;
    xout[i + 3] = sum3;
    xout[i + 4] = sum4;
    xout[i + 5] = sum5;
    xout[i + 6] = sum6;
    xout[i + 7] = sum7;
  }
}

/** The bytes of a matrix of d rows and n columns. */
export const panelBytes = (d: number, n: number): number => 4 * Math.ceil(d / PANEL) * PANEL * n;

/** The index of row `row`, column 0; column j is 8 * j further on. */
const startOf = (row: number, n: number) => (row - (row % PANEL)) * n + (row % PANEL);

/** Put `values` into w. They are in row order, and the first belongs at `offset`. */
function fill(w: Panels, values: Float32Array, offset: number): void {
  let row = Math.floor(offset / w.n);
  let column = offset % w.n;
  for (let i = 0; i < values.length; row++, column = 0) {
    const start = startOf(row, w.n);
    for (; column < w.n && i < values.length; column++, i++) {
      w.data[start + column * PANEL] = values[i];
    }
  }
}

export const loadPanels: LoadMatrix = async (source, name, layer, d, n) => {
  const w = { data: new Float32Array(Math.ceil(d / PANEL) * PANEL * n), d, n };
  for await (const { values, offset } of floatPieces(source, name, layer)) fill(w, values, offset);
  return {
    matmul: (xout, x) => matmul(xout, x, w),
    copyRow: (xout, row) => copyRow(xout, w, row),
  };
};

function copyRow(xout: Float32Array, w: Panels, row: number): void {
  const start = startOf(row, w.n);
  for (let j = 0; j < w.n; j++) {
    xout[j] = w.data[start + j * PANEL];
  }
}
