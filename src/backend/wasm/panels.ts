/*
 * Weights on their way into panels of sixteen rows (assembly/matmul.ts says why).
 */
import { PANEL } from "./kernels.js";

/**
 * Put `values` into the matrix w, of n columns: they follow each other row by row, and the first belongs at
 * `offset`.
 */
export function fillPanels(w: Float32Array, n: number, values: Float32Array, offset: number): void {
  let row = Math.floor(offset / n);
  let column = offset % n;
  for (let i = 0; i < values.length; row++, column = 0) {
    // where the number at column 0 lies; column j is 16 * j further on
    const start = (row - (row % PANEL)) * n + (row % PANEL);
    for (; column < n && i < values.length; column++, i++) {
      w[start + column * PANEL] = values[i];
    }
  }
}
