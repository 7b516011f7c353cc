/*
 * What every backend promises: the reference's bits, however tokens are batched, at any number of threads.
 * The oracle is always src/llama2/, or values that run.c computed.
 */
import { describe, expect, it } from "vitest";
import type { Entry } from "../../src/backend/backend.ts";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { forward } from "../../src/llama2/transformer.ts";
import { loadTransformer } from "../../src/llama2/weights.ts";
import { candidates } from "../helpers/backends.ts";
import { checkpointFile, SHAPES, type Shape } from "../helpers/checkpoint.ts";
import { bits, bytesOf, entriesOf, feed, randomTokens, referenceLogits, withContext } from "../helpers/feed.ts";
import { FULL, shortOrLong, withoutLarge } from "../helpers/full.ts";
import {
  type ForcedLogits,
  forcedTokens,
  golden,
  hasShared,
  needsShared,
  ROOT,
  sha256,
  sharedFile,
  sharedGolden,
} from "../helpers/golden.ts";
import { seededRandom } from "../helpers/random.ts";
import { randomModel, scaled } from "../helpers/sources.ts";

const seeded = golden<{ cases: (ForcedLogits & { shape: string; seed: number; untied: boolean })[] }>(
  "forced-logits.json",
).cases;

// dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen: no multiples of any vector, head sizes 2 to 128
const ODD_SHAPES: Shape[] = [
  [2, 3, 1, 1, 1, 5, 9],
  [6, 5, 2, 3, 1, 7, 33],
  [10, 17, 1, 1, 1, 1, 20],
  [28, 31, 3, 7, 7, 67, 40],
  [36, 50, 2, 6, 3, 97, 48],
  [60, 61, 1, 2, 1, 130, 35],
  [100, 33, 2, 1, 1, 31, 40],
  [128, 40, 1, 1, 1, 64, 34],
  [144, 200, 1, 9, 3, 259, 64],
  [256, 70, 1, 2, 2, 100, 40],
];

describe.each(candidates)("$name", ({ name, backend, threads }) => {
  const most = Math.max(...threads);

  describe("logits are run.c's, bit for bit", () => {
    const check = async (path: string, expected: ForcedLogits) => {
      const source = await openFile(path);
      const entries = entriesOf(forcedTokens(expected));
      await withContext(backend, source, {}, (context) => {
        expect(sha256(bytesOf(feed(context, entries, 1, expected.vocab_size)))).toBe(expected.sha256);
      });
      source.close();
    };

    it.each(name.startsWith("cpu") ? seeded : withoutLarge(seeded))(
      "shape $shape, seed $seed, untied: $untied",
      async ({ shape, seed, untied, ...expected }) => {
        await check(checkpointFile(SHAPES[shape], { seed, untied }), expected);
      },
    );

    // the plain loops take a second
    it.runIf(FULL || name !== "ts")("the bundled model", async () => {
      await check(`${ROOT}/models/stories2M.bin`, golden<{ forced: ForcedLogits }>("bundled-model.json").forced);
    });

    it.skipIf(!hasShared)(`stories260K${needsShared}`, async () => {
      const { stories260K } = sharedGolden<{ stories260K: ForcedLogits }>("forced-logits.json");
      await check(sharedFile("models/stories260K.bin"), stories260K);
    });
  });

  describe("the reference's bits", () => {
    it.each(ODD_SHAPES)(
      "dim %i, hidden %i, %i layers, %i heads, %i kv heads, vocabulary %i, context %i",
      async (...numbers) => {
        const shape = ODD_SHAPES.find((shape) => `${shape}` === `${numbers}`) as Shape;
        const [, , , , , vocabSize, seqLen] = shape;
        for (const untied of shortOrLong([ODD_SHAPES.indexOf(shape) % 2 === 1], [false, true])) {
          const source = await openFile(checkpointFile(shape, { seed: 7, untied }));
          const tokens = randomTokens(11, seqLen, vocabSize);
          const expected = await referenceLogits(source, tokens);
          await withContext(backend, source, { threads: most, sequences: 2 }, (context) => {
            for (const [sequence, batch] of [1, 64].entries()) {
              const logits = feed(context, entriesOf(tokens, sequence), batch, vocabSize);
              expect(bits(logits), `in batches of ${batch}`).toBe(bits(expected));
            }
          });
          source.close();
        }
      },
    );

    // large ones saturate softmax and expf, and a little larger ones overflow; tiny ones are denormal in products
    it.each([20, 2 ** 11, 2 ** -12, 2 ** -40])("weights times %d", async (factor) => {
      const source = scaled(randomModel(SHAPES.gqa), factor);
      const tokens = randomTokens(3, 24, source.config.vocabSize);
      const expected = await referenceLogits(source, tokens);
      expect(expected.every(Number.isFinite)).toBe(true);
      await withContext(backend, source, {}, (context) => {
        expect(bits(feed(context, entriesOf(tokens), 8, source.config.vocabSize))).toBe(bits(expected));
      });
    });

    it("at large positions, where RoPE has turned hundreds of times", async () => {
      const source = await openFile(checkpointFile([8, 12, 1, 2, 1, 40, 5000]));
      const reference = await loadTransformer(source);
      await withContext(backend, source, {}, (context) => {
        for (const pos of [1, 75, 119, 120, 121, 128, 255, 1000, 4095, 4999]) {
          const expected = bits(forward(reference, 7, pos).slice());
          expect(bits(context.forward([{ token: 7, pos, sequence: 0 }], 1)), `position ${pos}`).toBe(expected);
        }
      });
    });

    it.each(threads)("on %i threads", async (count) => {
      const source = await openFile(checkpointFile(SHAPES.gqa, { untied: true }));
      const tokens = randomTokens(5, 64, source.config.vocabSize);
      const expected = bits(await referenceLogits(source, tokens));
      await withContext(backend, source, { threads: count, sequences: 4 }, (context) => {
        for (const [sequence, batch] of [1, 2, 5, 64].entries()) {
          const logits = feed(context, entriesOf(tokens, sequence), batch, source.config.vocabSize);
          expect(bits(logits), `in batches of ${batch}`).toBe(expected);
        }
      });
    });
  });

  describe("batches", () => {
    const source = randomModel(SHAPES.mqa, { seed: 4 });
    const { vocabSize, seqLen } = source.config;
    const row = (logits: Float32Array, i: number) => logits.slice(i * vocabSize, (i + 1) * vocabSize);

    it("none, last and all give no logits, one row, all rows", async () => {
      const tokens = randomTokens(8, 5, vocabSize);
      const expected = await referenceLogits(source, tokens);
      await withContext(backend, source, {}, (context) => {
        const size = Math.min(5, context.maxBatch);
        const rowsOf = (wanted: number) => context.forward(entriesOf(tokens).slice(0, size), wanted);
        expect(rowsOf(0)).toEqual(new Float32Array());
        expect(rowsOf(1)).toEqual(row(expected, size - 1));
        expect(rowsOf(size)).toEqual(expected.slice(0, size * vocabSize));
      });
    });

    it("sequences do not affect each other, whether they share batches or not and whatever their positions", async () => {
      const texts = [1, 2, 3].map((seed) => randomTokens(seed, seqLen, vocabSize));
      const expected = await Promise.all(texts.map((tokens) => referenceLogits(source, tokens)));
      const random = seededRandom(99);
      await withContext(backend, source, { threads: most, sequences: 3 }, (context) => {
        const read = [0, 0, 0];
        while (read.some((n) => n < seqLen)) {
          // a random number of tokens of random sequences, each in its own order
          const batch: Entry[] = [];
          for (let k = Math.ceil(random() * Math.min(9, context.maxBatch)); k > 0; k--) {
            const sequence = Math.floor(random() * 3);
            if (read[sequence] === seqLen) continue;
            const pos = read[sequence]++;
            batch.push({ token: texts[sequence][pos], pos, sequence });
          }
          if (batch.length === 0) continue;
          const logits = context.forward(batch, batch.length);
          for (const [i, { pos, sequence }] of batch.entries()) {
            expect(bits(row(logits, i)), `sequence ${sequence}, position ${pos}`).toBe(
              bits(row(expected[sequence], pos)),
            );
          }
        }
      });
    });

    it("a sequence can be read again from any position", async () => {
      const [first, second] = [1, 2].map((seed) => randomTokens(seed, 20, vocabSize));
      const expected = await referenceLogits(source, second);
      await withContext(backend, source, {}, (context) => {
        feed(context, entriesOf(first), 64, vocabSize);
        expect(bits(feed(context, entriesOf(second), 64, vocabSize))).toBe(bits(expected));
      });
    });
  });
});
