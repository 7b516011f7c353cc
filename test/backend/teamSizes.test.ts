/*
 * The bits do not depend on how many threads work on a pass, or worked on earlier ones.
 */
import { afterEach, describe, expect, it, vi } from "vitest";
import { Team } from "../../src/backend/team.ts";
import { candidates } from "../helpers/backends.ts";
import type { Shape } from "../helpers/checkpoint.ts";
import { bits, entriesOf, feed, randomTokens, referenceLogits, withContext } from "../helpers/feed.ts";
import { quantized, randomModel } from "../helpers/sources.ts";

/** With 2 and 4 threads the heads are a thread's own. */
const SHAPE: Shape = [64, 208, 3, 8, 4, 64, 120];

const SIZES = [4, 1, 2, 4, 3, 1, 4, 4, 2, 3];

describe.each(candidates.filter(({ threads }) => Math.max(...threads) > 1))("on $name", ({ backend }) => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it.each([
    ["float32", {}],
    ["int8 in groups of many sizes", { wq: 16, wk: 1, wv: 2, wo: 16, w1: 1, w3: 32, w2: 16, tokenEmbeddingTable: 16 }],
  ])("teams of any size: the reference's bits, %s", async (_, groupSizes) => {
    const source = quantized(randomModel(SHAPE, { seed: 8 }), groupSizes);
    const tokens = randomTokens(9, SHAPE[6], SHAPE[5]);
    const expected = bits(await referenceLogits(source, tokens));
    for (const batch of [1, 5]) {
      let pass = 0;
      vi.spyOn(Team.prototype, "size", "get").mockImplementation(() => SIZES[pass++ % SIZES.length]);
      await withContext(backend, source, { threads: 4 }, (context) => {
        expect(bits(feed(context, entriesOf(tokens), batch, SHAPE[5]))).toBe(expected);
      });
      expect(pass).toBe(Math.ceil(tokens.length / batch));
    }
  });
});
