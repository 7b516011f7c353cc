/*
 * Narrow passes, which check guesses, have a kernel for each number of tokens. All compute the reference's bits,
 * wherever the weights lie.
 */
import { describe, expect, it } from "vitest";
import { candidates } from "../helpers/backends.ts";
import type { Shape } from "../helpers/checkpoint.ts";
import { bits, entriesOf, feed, randomTokens, referenceLogits, withContext } from "../helpers/feed.ts";
import { quantized, randomModel } from "../helpers/sources.ts";

const MOST = 17;

/** Rows that fill one to several panels of sixteen, and some not whole; columns that are no multiple of what is read
 * at once. */
const SMALL: Shape = [76, 150, 2, 2, 1, 100, 2 * MOST];

/** More weights than any cache is trusted to hold: 17 MB. */
const LARGE: Shape = [32, 40, 1, 2, 2, 132_000, MOST];

describe.each(candidates)("on $name", ({ name, backend, threads }) => {
  it.each([
    ["float32", {}],
    ["int8", { tokenEmbeddingTable: 4, wq: 4, wk: 4, wv: 38, wo: 2, w1: 76, w2: 50, w3: 4 }],
  ])(`passes of 1 to ${MOST} tokens: the reference's bits, %s`, async (_, groupSizes) => {
    const source = quantized(randomModel(SMALL, { seed: 11 }), groupSizes);
    const tokens = randomTokens(12, SMALL[6], SMALL[5]);
    const expected = bits(await referenceLogits(source, tokens));
    for (const count of [1, Math.max(...threads)]) {
      await withContext(backend, source, { threads: count }, (context) => {
        for (let batch = 1; batch <= MOST; batch++) {
          const logits = feed(context, entriesOf(tokens), batch, SMALL[5]);
          expect(bits(logits), `${count} threads, passes of ${batch}`).toBe(expected);
        }
      });
    }
  });

  it.runIf(name.startsWith("cpu"))("weights that come from memory: the reference's bits", async () => {
    const source = randomModel(LARGE, { seed: 13 });
    const tokens = randomTokens(14, MOST, LARGE[5]);
    const expected = bits(await referenceLogits(source, tokens));
    await withContext(backend, source, { threads: 1 }, (context) => {
      for (let batch = 1; batch <= MOST; batch++) {
        expect(bits(feed(context, entriesOf(tokens), batch, LARGE[5])), `passes of ${batch}`).toBe(expected);
      }
    });
  });
});
