/*
 * The original matrices rounded to int8 as version 2 stores them: an int8 checkpoint must equal them.
 */
import { f32 } from "../llama2/math.ts";
import type { Config } from "../llama2/transformer.ts";
import { isVector, type TensorName } from "../llama2/weights.ts";
import type { RowSource } from "./naive.ts";

/**
 * The same model with its matrices rounded. A group is `groupSize` numbers in the checkpoint's order of rows, in which
 * RoPE's pairs are neighbours. One whole matrix is in memory, in float32.
 * @param isRounded which matrices are rounded: those that are not int8 already
 */
export function rounded(
  source: RowSource,
  p: Config,
  groupSize: number,
  isRounded: (name: TensorName) => boolean,
): RowSource {
  return {
    halfSplit: source.halfSplit,
    async *rows(name, layer, d, n) {
      if (isVector(name) || !isRounded(name)) {
        yield* source.rows(name, layer, d, n);
        return;
      }
      const all = new Float32Array(d * n);
      for await (const { first, rows } of source.rows(name, layer, d, n)) all.set(rows, first * n);
      const turned = source.halfSplit && (name === "wq" || name === "wk");
      const place = turned ? (row: number) => halfSplitRow(row, p.dim / p.nHeads) : (row: number) => row;
      roundGroups(all, n, groupSize, place);
      const step = Math.max(1, Math.floor(2 ** 21 / n));
      for (let first = 0; first < d; first += step) {
        yield { first, rows: Float64Array.from(all.subarray(first * n, (first + step) * n)) };
      }
    },
  };
}

/** The index in Hugging Face's layout of a checkpoint's row `row`: there each head has its even rows first. */
function halfSplitRow(row: number, headSize: number): number {
  const inHead = row % headSize;
  return row - inHead + (inHead % 2) * (headSize / 2) + Math.floor(inHead / 2);
}

/** Round each group, in place, to multiples of its scale, which is its largest magnitude / 127. */
function roundGroups(all: Float32Array, n: number, groupSize: number, place: (row: number) => number): void {
  const at = (i: number) => place(Math.floor(i / n)) * n + (i % n);
  for (let start = 0; start < all.length; start += groupSize) {
    let largest = 0;
    for (let i = start; i < start + groupSize; i++) largest = Math.max(largest, Math.abs(all[at(i)]));
    const scale = f32(largest / 127);
    for (let i = start; i < start + groupSize && scale > 0; i++) {
      all[at(i)] = halfToEven(f32(all[at(i)] / scale)) * scale;
    }
  }
}

function halfToEven(x: number): number {
  const floor = Math.floor(x);
  return x - floor === 0.5 ? floor + (floor % 2 === 0 ? 0 : 1) : Math.round(x);
}
