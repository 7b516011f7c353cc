/*
 * How many panels wasm reads at once: found out from the time that passes take.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fill, prepare } from "../../src/backend/wasm/load.ts";
import { Reading } from "../../src/backend/wasm/reading.ts";
import type { Shape } from "../helpers/checkpoint.ts";
import { bits, entriesOf, feed, randomTokens, referenceLogits } from "../helpers/feed.ts";
import { ROOT } from "../helpers/golden.ts";
import { randomModel } from "../helpers/sources.ts";

/** Make so many passes, which take ms[0] with one panel at once and ms[1] with two. Returns how many were read. */
const passes = (reading: Reading, count: number, ms: readonly [number, number]): number[] =>
  Array.from({ length: count }, () => {
    const { panels } = reading;
    reading.ran(ms[panels - 1]);
    return panels;
  });
/** One and two in turn. */
const inTurn = (count: number) => Array.from({ length: count }, (_, i) => 1 + (i % 2));
/** The kernels are optimized after 20 ms. */
const warm = (ms: readonly [number, number]) => {
  const reading = new Reading();
  expect(passes(reading, 4, [5, 5])).toEqual(inTurn(4));
  passes(reading, 28, ms);
  return reading;
};

describe("panels read at once", () => {
  it("are one and two in turn until the kernels are optimized", () => {
    expect(passes(new Reading(), 200, [0.1, 0.1]).slice(0, 200)).toEqual(inTurn(200));
  });

  it("are what was faster by then", () => {
    const reading = new Reading();
    passes(reading, 10, [1, 3]);
    expect(passes(reading, 22, [1, 3])).toEqual(Array(22).fill(1));
    const other = new Reading();
    passes(other, 10, [3, 1]);
    expect(passes(other, 22, [3, 1])).toEqual(Array(22).fill(2));
  });

  it.each([
    [[1, 2], 1],
    [[2, 1], 2],
  ] as const)("are what is faster when both are tried again: with %j ms, %d", (ms, best) => {
    const reading = warm([3, 3]);
    expect(passes(reading, 4, ms)).toEqual(inTurn(4));
    expect(passes(reading, 28, ms)).toEqual(Array(28).fill(best));
    expect(passes(reading, 4, ms)).toEqual(inTurn(4));
    expect(passes(reading, 60, ms)).toEqual(Array(60).fill(best));
  });

  it("do not depend on the trials before", () => {
    const reading = warm([1, 2]);
    passes(reading, 32, [1, 2]);
    expect(passes(reading, 64, [4, 3]).slice(4)).toEqual(Array(60).fill(2));
  });

  it("are not decided by a pass that was held up", () => {
    const reading = warm([1, 2]);
    passes(reading, 2, [100, 2]);
    passes(reading, 2, [1, 2]);
    expect(reading.panels).toBe(1);
  });
});

// 1 to 17 panels in a matrix, odd and even numbers, the last one not always full
const SHAPES: Shape[] = [
  [10, 17, 1, 1, 1, 1, 20],
  [36, 50, 2, 6, 3, 97, 48],
  [60, 61, 1, 2, 1, 130, 35],
  [144, 200, 1, 9, 3, 259, 40],
];

describe.each([1, 2])("%d at once", (panels) => {
  it.each(SHAPES)(
    "give the reference's bits: dim %i, hidden %i, %i layers, %i heads, %i kv, %i, %i",
    async (...shape) => {
      const source = randomModel(shape);
      const { seqLen, vocabSize } = source.config;
      const tokens = randomTokens(5, seqLen, vocabSize);
      const module = new WebAssembly.Module(readFileSync(join(ROOT, "dist/backend/wasm/kernels.wasm")));
      const prepared = prepare(module, source, seqLen, 1, 0);
      const { forward } = prepared.kernels;
      const kernels = {
        ...prepared.kernels,
        forward: (...[keys, values, logits, count, classified, threads]: Parameters<typeof forward>) =>
          forward(keys, values, logits, count, classified, threads, panels),
      };
      const model = await fill({ ...prepared, kernels }, source, seqLen);
      const context = Object.assign(model.openContext(1), { maxBatch: 1 });
      expect(bits(feed(context, entriesOf(tokens), 1, vocabSize))).toBe(bits(await referenceLogits(source, tokens)));
      model.dispose();
    },
  );
});
