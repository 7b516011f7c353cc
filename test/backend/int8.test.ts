/*
 * What every backend promises of int8 models: runq.c's bits where groups lie within rows; where groups straddle
 * rows, the bits defined in the document numerics, which the reference follows.
 */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Checkpoint } from "../../src/checkpoint/llama2c/checkpoint.ts";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { mallocQuantized, quantize as quantizeActivations } from "../../src/llama2/quantize.ts";
import { forward } from "../../src/llama2/transformer.ts";
import { loadTransformer, type TensorName, type WeightSource } from "../../src/llama2/weights.ts";
import { quantize } from "../../src/quantize.ts";
import { candidates } from "../helpers/backends.ts";
import { checkpointFile, SHAPES, type Shape } from "../helpers/checkpoint.ts";
import { bits, bytesOf, entriesOf, feed, randomTokens, referenceLogits, withContext } from "../helpers/feed.ts";
import { shortOrLong, withoutLarge } from "../helpers/full.ts";
import { forcedTokens, golden, hasShared, needsShared, sha256, sharedFile, sharedGolden } from "../helpers/golden.ts";
import { seededRandom } from "../helpers/random.ts";
import { changed } from "../helpers/sources.ts";
import { tempDir } from "../helpers/temp.ts";

interface Int8Case {
  group_size: number;
  runq_forced_logits?: { positions: number; sha256: string };
}

async function quantized(path: string, groupSize: number): Promise<Checkpoint> {
  const int8 = join(tempDir(), "int8.bin");
  await quantize(path, int8, { groupSize });
  return await openFile(int8);
}

/** Shapes and group sizes that divide every tensor; few divide a row. */
const CASES: [shape: Shape, groupSize: number][] = [
  [[16, 40, 2, 4, 4, 300, 40], 8],
  [[24, 36, 2, 2, 1, 10, 40], 12],
  [[24, 36, 2, 2, 1, 10, 40], 1],
  [[24, 36, 2, 2, 1, 10, 40], 3],
  [[24, 40, 2, 2, 1, 10, 40], 16],
  [[24, 40, 1, 4, 2, 32, 40], 32],
  [[24, 40, 1, 4, 2, 32, 40], 48],
  [[36, 54, 2, 6, 3, 50, 40], 9],
  [[36, 54, 2, 6, 3, 50, 40], 24],
  [[30, 50, 1, 3, 3, 70, 40], 25],
  [[102, 68, 1, 3, 1, 34, 40], 17],
  [[128, 172, 1, 1, 1, 64, 40], 64],
  [[144, 200, 1, 9, 3, 64, 40], 144],
];

/** Weights that no exporter writes: any byte, -128 too, with scales large, tiny, zero and negative. */
function hostile(source: WeightSource): WeightSource {
  const random = seededRandom(1);
  const scales = [1, -0.01, 1e-42, 0, 3e4];
  return changed(source, (piece) => {
    if ("values" in piece || piece.offset > 0) return piece;
    for (let i = 0; i < piece.q.length; i += 3) piece.q[i] = Math.floor(256 * random()) - 128;
    for (let i = 0; i < piece.scales.length; i += 2) {
      piece.scales[i] *= scales[Math.floor(random() * scales.length)];
    }
    return piece;
  });
}

/** The same weights, but number `at` of the last norm's is NaN. */
function spoiled(source: WeightSource, at: number): WeightSource {
  return changed(source, (piece, name) => {
    if (!("values" in piece) || name !== "rmsFinalWeight") return piece;
    const { offset, values } = piece;
    const isHere = at >= offset && at < offset + values.length;
    return isHere ? { offset, values: values.with(at - offset, NaN) } : piece;
  });
}

/** The same weights, with the scales of some tensors multiplied. */
function rescaled(source: WeightSource, factors: Partial<Record<TensorName, number>>): WeightSource {
  return changed(source, (piece, name) => {
    if ("values" in piece) return piece;
    return { ...piece, scales: piece.scales.map((scale) => scale * (factors[name] ?? 1)) };
  });
}

describe.each(candidates)("int8 on $name", ({ name, backend, threads }) => {
  type Seeded = { shape: string; seed: number; untied: boolean; v2: Int8Case[] };
  const { cases } = golden<{ cases: Seeded[] }>("export-int8.json");

  const check = async (path: string, { group_size, runq_forced_logits }: Int8Case) => {
    const { positions = 0, sha256: expected } = runq_forced_logits ?? {};
    const source = await quantized(path, group_size);
    const { vocabSize } = source.config;
    const tokens = forcedTokens({ vocab_size: vocabSize, positions, sha256: "" });
    for (const batch of [1, 64]) {
      await withContext(backend, source, {}, (context) => {
        expect(sha256(bytesOf(feed(context, entriesOf(tokens), batch, vocabSize)))).toBe(expected);
      });
    }
    source.close();
  };

  it.each(name.startsWith("cpu") ? cases : withoutLarge(cases))(
    "logits are runq.c's, bit for bit: shape $shape",
    async ({ shape, seed, untied, v2 }) => {
      for (const int8Case of v2) await check(checkpointFile(SHAPES[shape], { seed, untied }), int8Case);
    },
  );

  it.skipIf(!hasShared)(`logits are runq.c's, bit for bit: stories260K${needsShared}`, async () => {
    const { exports } = sharedGolden<{ exports: { source: string; v2: Int8Case[] }[] }>("export-int8.json");
    const v2 = exports.find(({ source }) => source === "stories260K")?.v2.find((v2) => v2.runq_forced_logits);
    await check(sharedFile("models/stories260K.bin"), v2 as Int8Case);
  });

  it.each(CASES)("logits are the reference's, bit for bit: %j in groups of %i", async (shape, groupSize) => {
    const vocabSize = shape[5];
    for (const untied of shortOrLong([groupSize % 2 === 1], [false, true])) {
      const source = await quantized(checkpointFile(shape, { seed: 9, untied }), groupSize);
      const tokens = randomTokens(2, 40, vocabSize);
      const expected = bits(await referenceLogits(source, tokens));
      for (const [count, batch] of [
        [1, 1],
        [Math.max(...threads), 7],
      ]) {
        await withContext(backend, source, { threads: count }, (context) => {
          const logits = feed(context, entriesOf(tokens), batch, vocabSize);
          expect(bits(logits), `${count} threads, batches of ${batch}, untied: ${untied}`).toBe(expected);
        });
      }
      source.close();
    }
  });

  it.each([8, 16, 24])("any bytes and scales, in groups of %i", async (groupSize) => {
    const file = await quantized(checkpointFile([24, 40, 2, 2, 1, 48, 40], { seed: 9 }), groupSize);
    const tokens = randomTokens(2, 12, 48);
    const expected = await referenceLogits(hostile(file), tokens);
    await withContext(backend, hostile(file), {}, (context) => {
      expect(feed(context, entriesOf(tokens), 5, 48)).toEqual(expected);
    });
    file.close();
  });

  it("activations so small that their scale is denormal, and 127 scales are less than the largest: -128", async () => {
    const file = await quantized(checkpointFile([64, 64, 1, 2, 2, 48, 40], { seed: 5 }), 16);
    const source = rescaled(file, { w1: 2 ** -68, w3: 2 ** -68, w2: 2 ** 119 });
    const tokens = randomTokens(3, 40, 48);

    // the reference does meet -128 on the way
    const transformer = await loadTransformer(source);
    const hb = mallocQuantized(64, 16);
    const met = tokens.map((token, pos) => {
      forward(transformer, token, pos);
      quantizeActivations(hb, transformer.state.hb);
      return hb.q.includes(-128);
    });
    expect(met).toContain(true);

    const expected = await referenceLogits(source, tokens);
    await withContext(backend, source, {}, (context) => {
      expect(bits(feed(context, entriesOf(tokens), 5, 48))).toBe(bits(expected));
    });
  });

  it.each([0, 5, 31, 63])("a NaN among the activations, at %i, is not lost: all logits are NaN", async (at) => {
    const file = await quantized(checkpointFile([64, 64, 1, 2, 2, 48, 40], { seed: 5 }), 16);
    const source = spoiled(file, at);
    expect((await referenceLogits(source, [1])).every(Number.isNaN)).toBe(true);
    await withContext(backend, source, {}, (context) => {
      expect(feed(context, entriesOf([1]), 1, 48).every(Number.isNaN)).toBe(true);
    });
    file.close();
  });
});
