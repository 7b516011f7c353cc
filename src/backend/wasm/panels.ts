/*
 * Writes weights into panels of sixteen rows. assembly/matmul.ts and assembly/quantize.ts explain the layout.
 */
import { floatPieces, groupSizeOf, int8Pieces, type MatrixName, type WeightSource } from "../../llama2/weights.ts";

/** Rows of a panel; lengths of vectors are rounded up to it. */
export const PANEL = 16;

/** The bytes of n float32 numbers with room for the next multiple of 16. */
export const rowBytes = (n: number): number => 4 * PANEL * Math.ceil(n / PANEL);

/** The bytes of a float32 matrix of d rows and n columns. */
export const matrixBytes = (d: number, n: number): number => rowBytes(d) * n;

/** The bytes of an int8 matrix without its scales: columns are stored in pairs. */
const int8Bytes = (d: number, n: number) => matrixBytes(d, 2 * Math.ceil(n / 2)) / 4;

/** Whether every row begins with a group, and no group ends within a pair of columns. */
const rowsAreWholeGroups = (n: number, groupSize: number) => n % groupSize === 0 && groupSize % 2 === 0;

/** The bytes of a matrix of the model, float32 where the group size is 0. */
export function weightBytes(d: number, n: number, groupSize: number): number {
  if (groupSize === 0) return matrixBytes(d, n);
  const scales = rowsAreWholeGroups(n, groupSize) ? matrixBytes(d, n / groupSize) : rowBytes((d * n) / groupSize);
  return int8Bytes(d, n) + scales;
}

/** Read one matrix, of d rows and n columns, to where it belongs in the kernels' memory. */
export async function readMatrix(
  source: WeightSource,
  { name, layer, d, n, address }: { name: MatrixName; layer: number; d: number; n: number; address: number },
  memory: ArrayBuffer,
): Promise<void> {
  const groupSize = groupSizeOf(source.formatOf(name));
  const bytes = weightBytes(d, n, groupSize);
  if (groupSize === 0) {
    const w = new Float32Array(memory, address, bytes / 4);
    for await (const { values, offset } of floatPieces(source, name, layer)) fillPanels(w, n, values, offset);
    return;
  }
  const w = new Int8Array(memory, address, int8Bytes(d, n));
  const scales = new Float32Array(memory, address + w.length, (bytes - w.length) / 4);
  for await (const piece of int8Pieces(source, name, layer)) {
    fillPairs(w, n, piece.q, piece.offset);
    if (rowsAreWholeGroups(n, groupSize)) fillPanels(scales, n / groupSize, piece.scales, piece.offset / groupSize);
    else scales.set(piece.scales, piece.offset / groupSize);
  }
}

/**
 * Put `values` into the float32 matrix w of n columns. They are in row order, and the first belongs at `offset`.
 */
function fillPanels(w: Float32Array, n: number, values: Float32Array, offset: number): void {
  let row = Math.floor(offset / n);
  let column = offset % n;
  for (let i = 0; i < values.length; row++, column = 0) {
    // the index of column 0; column j is 16 * j further on
    const start = (row - (row % PANEL)) * n + (row % PANEL);
    for (; column < n && i < values.length; column++, i++) {
      w[start + column * PANEL] = values[i];
    }
  }
}

/** The same for an int8 matrix, whose columns are stored in pairs. */
function fillPairs(w: Int8Array, n: number, values: Int8Array, offset: number): void {
  let row = Math.floor(offset / n);
  let column = offset % n;
  for (let i = 0; i < values.length; row++, column = 0) {
    // the index of column 0; each pair of columns is 32 further on
    const start = (row - (row % PANEL)) * (n + (n & 1)) + 2 * (row % PANEL);
    for (; column < n && i < values.length; column++, i++) {
      w[start + (column >> 1) * 2 * PANEL + (column & 1)] = values[i];
    }
  }
}
