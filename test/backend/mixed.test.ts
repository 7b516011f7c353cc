/*
 * Each matrix of a model may be float32, or int8 with a group size of its own: every backend computes the
 * reference's bits.
 */
import { describe, expect, it } from "vitest";
import { forward } from "../../src/llama2/transformer.ts";
import { loadTransformer, type MatrixName } from "../../src/llama2/weights.ts";
import { candidates } from "../helpers/backends.ts";
import type { Shape } from "../helpers/checkpoint.ts";
import { bits, entriesOf, feed, randomTokens, referenceLogits, withContext } from "../helpers/feed.ts";
import { quantized, randomModel } from "../helpers/sources.ts";

/** dim 48, hidden 72: groups of 16 lie within the rows of dim, those of 32 straddle them. */
const SHAPE: Shape = [48, 72, 2, 6, 2, 64, 40];

const MIXTURES: Record<string, Partial<Record<MatrixName, number>>> = {
  "an int8 classifier alone": { wcls: 16 },
  "an int8 embedding alone": { tokenEmbeddingTable: 16 },
  "every other matrix": { wq: 16, wv: 16, w1: 8, wcls: 24 },
  "another group size for each that shares its x": { wq: 16, wk: 8, wv: 48, wo: 3, w1: 24, w3: 4, w2: 36 },
  "groups that straddle rows beside some that do not": { wq: 32, wk: 16, w1: 32, w2: 27, w3: 72, wcls: 32 },
  "the same group size with float32 between": { wq: 16, wv: 16, w1: 16, w2: 16 },
};

describe.each(candidates)("a model of mixed formats on $name", ({ backend, threads }) => {
  it.each(Object.entries(MIXTURES))("%s: the reference's bits", async (_, groupSizes) => {
    const source = quantized(randomModel(SHAPE, { seed: 3, untied: true }), groupSizes);
    const tokens = randomTokens(6, 40, SHAPE[5]);
    const expected = bits(await referenceLogits(source, tokens));
    for (const [count, batch] of [
      [1, 1],
      [Math.max(...threads), 1],
      [Math.max(...threads), 9],
    ]) {
      await withContext(backend, source, { threads: count }, (context) => {
        const logits = feed(context, entriesOf(tokens), batch, SHAPE[5]);
        expect(bits(logits), `${count} threads, batches of ${batch}`).toBe(expected);
      });
    }
  });
});

it("the mixtures differ from each other and from the model in float32", async () => {
  const model = randomModel(SHAPE, { seed: 3, untied: true });
  const logits = [{}, ...Object.values(MIXTURES)].map(async (groupSizes) => {
    return bits(forward(await loadTransformer(quantized(model, groupSizes)), 5, 0));
  });
  expect(new Set(await Promise.all(logits)).size).toBe(7);
});
