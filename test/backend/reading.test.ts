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
const HALF = [1, 2, 1, 2, 1, 2];

describe("panels read at once", () => {
  it("are one at first", () => {
    expect(passes(new Reading(), 64, [9, 1])).toEqual(Array(64).fill(1));
  });

  it.each([
    [[1, 2], 1],
    [[2, 1], 2],
  ] as const)("are what is faster when both have been tried: with %j ms, %d", (ms, best) => {
    const reading = new Reading();
    passes(reading, 64, ms);
    expect(passes(reading, 6, ms)).toEqual(HALF);
    expect(passes(reading, 58, ms)).toEqual(Array(58).fill(best));
  });

  it("are tried again after twice as many passes, and the trials before do not count", () => {
    const reading = new Reading();
    passes(reading, 128, [1, 2]);
    expect(passes(reading, 6, [3, 2])).toEqual(HALF);
    expect(passes(reading, 122, [3, 2])).toEqual(Array(122).fill(2));
    expect(passes(reading, 6, [3, 2])).toEqual(HALF);
  });

  it("are not decided by a pass that was held up", () => {
    const reading = new Reading();
    passes(reading, 64, [1, 2]);
    passes(reading, 2, [100, 2]);
    passes(reading, 4, [1, 2]);
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
