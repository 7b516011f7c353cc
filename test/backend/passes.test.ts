/*
 * Narrow passes, which check guesses, have a kernel for each number of tokens. All compute the reference's bits,
 * wherever the weights lie.
 */
import { describe, expect, it } from "vitest";
import type { TensorName, WeightSource } from "../../src/llama2/weights.ts";
import { candidates } from "../helpers/backends.ts";
import type { Shape } from "../helpers/checkpoint.ts";
import { bits, entriesOf, feed, randomTokens, referenceLogits, withContext } from "../helpers/feed.ts";
import { changed, quantized, randomModel } from "../helpers/sources.ts";

const MOST = 17;

/** Rows that fill one to several panels of sixteen, and some not whole; columns that are no multiple of what is read
 * at once. */
const SMALL: Shape = [76, 150, 2, 2, 1, 100, 2 * MOST];

/** So many heads that their scores are computed some at a time. */
const HEADS: Shape = [72, 60, 1, 18, 6, 100, 2 * MOST];

/** One layer. */
const ONE_LAYER: Shape = [76, 150, 1, 2, 1, 100, 2 * MOST];

/** More weights than any cache is trusted to hold: 17 MB. */
const LARGE: Shape = [32, 40, 1, 2, 2, 132_000, MOST];

/** The token whose values overflow. */
const OVERFLOWS = 6;

/** A model in which one token alone has a number in its first column, which the values multiply until it overflows. */
function overflowing(source: WeightSource, token: number): WeightSource {
  const { dim } = source.config;
  return changed(source, (piece, name) => {
    if (!("values" in piece)) return piece;
    const first: Partial<Record<TensorName, number>> = { rmsAttWeight: 1e30, wv: 1e30, wq: 0, wk: 0 };
    const values = piece.values.map((value, i) => {
      const at = piece.offset + i;
      if (at % dim !== 0) return value;
      if (name === "tokenEmbeddingTable") return at === token * dim ? 1 : 0;
      return first[name] ?? value;
    });
    return { ...piece, values };
  });
}

describe.each(candidates)("on $name", ({ name, backend, threads }) => {
  it.each([
    ["float32", SMALL, {}],
    ["many heads", HEADS, {}],
    ["int8", SMALL, { tokenEmbeddingTable: 4, wq: 4, wk: 4, wv: 38, wo: 2, w1: 76, w2: 50, w3: 4 }],
  ])(`passes of 1 to ${MOST} tokens: the reference's bits, %s`, async (_, shape, groupSizes) => {
    const source = quantized(randomModel(shape, { seed: 11 }), groupSizes);
    const tokens = randomTokens(12, shape[6], shape[5]);
    const expected = bits(await referenceLogits(source, tokens));
    for (const count of [1, Math.max(...threads)]) {
      await withContext(backend, source, { threads: count }, (context) => {
        for (let batch = 1; batch <= MOST; batch++) {
          const logits = feed(context, entriesOf(tokens), batch, shape[5]);
          expect(bits(logits), `${count} threads, passes of ${batch}`).toBe(expected);
        }
      });
    }
  });

  it("a token whose values are infinite: the reference's bits for the tokens before it in the pass", async () => {
    const source = overflowing(randomModel(ONE_LAYER, { seed: 15 }), OVERFLOWS);
    const tokens = [3, 1, 4, 1, 5, 9, 2, OVERFLOWS];
    const before = (logits: Float32Array) => logits.subarray(0, (tokens.length - 1) * SMALL[5]);
    const expected = await referenceLogits(source, tokens);
    expect(expected.subarray(before(expected).length).every(Number.isNaN)).toBe(true);
    for (const count of threads) {
      await withContext(backend, source, { threads: count }, (context) => {
        const logits = feed(context, entriesOf(tokens), tokens.length, SMALL[5]);
        expect(bits(before(logits)), `${count} threads`).toBe(bits(before(expected)));
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
