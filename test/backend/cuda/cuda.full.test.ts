/*
 * The cuda backend as callers see it, with its kernels run by the emulator. What the kernels compute, in every shape
 * and schedule, is tested in test/native/gpuCheck.full.test.ts.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { canEmulateAddon, EMULATED_ADDON } from "../../../scripts/cuda-emulator.mjs";
import type { Backend, Context, LoadedModel, Running } from "../../../src/backend/backend.ts";
import { openCuda } from "../../../src/backend/cuda/cuda.ts";
import type { CudaOptions } from "../../../src/backend/cuda/options.ts";
import { openGgufModel } from "../../../src/checkpoint/foreign.ts";
import { asInt8 } from "../../../src/checkpoint/int8.ts";
import { buildSampler, sample } from "../../../src/llama2/sampler.ts";
import { DEFAULTS } from "../../../src/llama2/transformer.ts";
import { isVector, type WeightSource } from "../../../src/llama2/weights.ts";
import type { Shape } from "../../helpers/checkpoint.ts";
import { needsEmulator } from "../../helpers/emulatedPackage.ts";
import {
  bits,
  decodeAll,
  entriesOf,
  feed,
  oneByOne,
  randomTokens,
  referenceLogits,
  relativeError,
} from "../../helpers/feed.ts";
import { ggufBytes, ggufKeys } from "../../helpers/formats/gguf.ts";
import { seededModel } from "../../helpers/formats/model.ts";
import { memoryFile } from "../../helpers/formats/source.ts";
import { seededRandom } from "../../helpers/random.ts";
import { quantized, randomModel, scaled } from "../../helpers/sources.ts";

const SHAPE: Shape = [48, 96, 2, 6, 2, 130, 80];

/** A GGUF file, opened where it is. */
function ggufModel(type: "Q8_0" | "F16"): WeightSource {
  const { shape, tensors } = seededModel([64, 96, 2, 4, 2, 130, 80], "gguf", type, { norms: "F32" });
  const opened = openGgufModel(memoryFile(ggufBytes(ggufKeys(shape), tensors), "model.gguf"));
  const [dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen] = shape;
  return {
    config: { dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen, ...DEFAULTS },
    sharedClassifier: false,
    formatOf: (name) => (type === "Q8_0" && !isVector(name) ? { groupSize: 32 } : "float32"),
    async *pieces(name, layer, multipleOf) {
      yield* (await opened).weights().pieces(name, layer, multipleOf);
    },
  };
}

describe.skipIf(!canEmulateAddon)(`the cuda backend${needsEmulator}`, () => {
  let backend: Backend;
  beforeAll(() => {
    backend = openCuda(EMULATED_ADDON);
  });

  /** Work with a model, and a context of it with so many sequences. */
  async function on<T>(
    source: WeightSource,
    { sequences = 1, ...own }: CudaOptions & { sequences?: number },
    work: (context: Context & { maxBatch: number }, model: LoadedModel) => T | Promise<T>,
  ): Promise<T> {
    const model = await backend.load(source, source.config.seqLen, { threads: 0, own });
    const context = Object.assign(model.openContext(sequences), { maxBatch: model.maxBatch });
    try {
      return await work(context, model);
    } finally {
      context.dispose();
      model.dispose();
    }
  }

  const worst = (actual: Float32Array, expected: Float32Array, vocabSize: number) => {
    let error = 0;
    for (let at = 0; at < expected.length; at += vocabSize) {
      const row = relativeError(actual.subarray(at, at + vocabSize), expected.subarray(at, at + vocabSize));
      if (!(row <= error)) error = row;
    }
    return error;
  };

  // the least says that it is this precision that computes
  it.each<[what: string, source: WeightSource, options: CudaOptions, least: number, most: number]>([
    ["float32", randomModel(SHAPE), {}, 1e-9, 1e-4],
    ["float32 with a classifier of its own", randomModel(SHAPE, { untied: true }), {}, 1e-9, 1e-4],
    ["float32 in fp16", randomModel(SHAPE), { precision: "fp16" }, 1e-5, 1e-2],
    ["float32 in int8", randomModel(SHAPE), { precision: "int8" }, 1e-3, 0.1],
    ["float32 with keys and values in fp16", randomModel(SHAPE), { kvPrecision: "fp16" }, 1e-5, 2e-3],
    ["int8", quantized(randomModel(SHAPE), 32), {}, 1e-9, 1e-2],
    ["int8 whose groups straddle rows", quantized(randomModel([64, 41, 2, 4, 2, 130, 16]), 8), {}, 1e-9, 1e-2],
    ["int8 in fp32", quantized(randomModel(SHAPE), 32), { precision: "fp32" }, 1e-3, 0.1],
    ["int8 while loading", asInt8(randomModel(SHAPE)), {}, 1e-9, 1e-2],
    ["GGUF's Q8_0", ggufModel("Q8_0"), {}, 1e-9, 1e-2],
    ["GGUF's F16", ggufModel("F16"), {}, 1e-9, 1e-4],
  ])("computes the reference's logits within a tolerance: %s", async (_, source, options, least, most) => {
    const tokens = randomTokens(3, 12, 130);
    const expected = await referenceLogits(source, tokens);
    const error = await on(source, options, (context) =>
      worst(feed(context, entriesOf(tokens), 512, 130), expected, 130),
    );
    expect(error).toBeLessThan(most);
    expect(error).toBeGreaterThan(least);
  });

  it("rounds to int8 while loading as `quantize` does: the same bits as from a quantized file", async () => {
    const [source, tokens] = [randomModel(SHAPE), randomTokens(4, 9, 130)];
    const bitsOf = (some: WeightSource, options: CudaOptions) =>
      on(some, options, (context) => bits(feed(context, entriesOf(tokens), 512, 130)));
    expect(await bitsOf(source, { precision: "int8" })).toBe(await bitsOf(asInt8(source), {}));
  });

  it.each([
    ["float32 beside int8", { wq: 16, w2: 16 }, /float32, int8 in groups of 16.*the cuda backend takes one format/],
    [
      "two group sizes",
      { tokenEmbeddingTable: 16, wq: 8, wk: 8, wv: 8, wo: 8, w1: 8, w2: 8, w3: 8 },
      /16, int8 in groups of 8/,
    ],
  ] as const)("refuses a model of several formats by name: %s", async (_, groupSizes, message) => {
    await expect(on(quantized(randomModel(SHAPE), groupSizes), {}, () => {})).rejects.toThrow(message);
  });

  it.each<[what: string, source: WeightSource, options: CudaOptions]>([
    ["float32", randomModel(SHAPE), {}],
    ["float32 in fp16, with a cache of fp16", randomModel(SHAPE), { precision: "fp16", kvPrecision: "fp16" }],
    ["int8", quantized(randomModel(SHAPE), 32), {}],
    ["int8 while loading", asInt8(randomModel(SHAPE)), {}],
  ])("takes as much memory as it estimates: %s", async (_, source, own) => {
    const estimate = () => backend.estimate(source, 80, { threads: 0, own });
    const { weights, perSequence, scratch, available } = estimate();
    for (const sequences of [1, 7]) {
      const left = await on(source, { sequences, ...own }, () => estimate().available);
      const taken = available - left;
      const needed = weights + scratch + sequences * perSequence;
      expect(Math.abs(taken - needed), `${taken} of ${needed}`).toBeLessThan(1 << 20); // blocks are rounded up
    }
    expect(estimate().available).toBe(available);
  });

  it("reads more entries in one call than the device takes at once: the same bits, for as many rows as are asked for", async () => {
    const tokens = randomTokens(4, 75, 130);
    const source = randomModel(SHAPE);
    const alone = await on(source, {}, (context) => feed(context, entriesOf(tokens), 1, 130).slice());
    for (const wanted of [75, 50, 11, 1, 0]) {
      const rows = await on(source, {}, (context) => context.forward(entriesOf(tokens), wanted).slice());
      expect(bits(rows)).toBe(bits(alone.subarray(alone.length - wanted * 130)));
    }
  });

  it("draws what sampler.ts draws from the same logits, and leaves the generator in the same state", async () => {
    await on(randomModel(SHAPE), {}, (context) => {
      for (const [temperature, topp] of [
        [0, 0.9],
        [1, 0.9],
        [0.8, 1],
        [1.3, 0.5],
      ]) {
        const mine = buildSampler(130, temperature, topp, 99n);
        const reference = buildSampler(130, temperature, topp, 99n);
        const rows = context.forward(entriesOf(randomTokens(5, 20, 130)), 20);
        const expected = Array.from({ length: 20 }, (_, row) =>
          sample(reference, rows.slice(row * 130, (row + 1) * 130)),
        );
        expect(context.sample(Array(20).fill(mine))).toEqual(expected);
        expect(mine.rngState).toBe(reference.rngState);
      }
    });
  });

  const start = (sequence: number, seed: bigint, temperature = 1): Running => ({
    token: 1,
    pos: 0,
    sequence,
    sampler: buildSampler(130, temperature, 0.9, seed),
    stop: -1,
  });

  it("decodes many tokens in a call as it does one by one, in one sequence or several", async () => {
    const source = randomModel(SHAPE);
    const seeds = [11n, 12n, 13n];
    const expected = await Promise.all(
      seeds.map((seed) => on(source, {}, (context) => oneByOne(context, start(0, seed), 60))),
    );
    const starts = seeds.map((seed, i) => start(i, seed));
    expect(await on(source, { sequences: 3 }, (context) => decodeAll(context, starts, 60))).toEqual(expected);
    const after = seeds.map((seed) => start(0, seed).sampler);
    for (const sampler of after)
      for (let i = 0; i < 60; i++) sample(sampler, Float32Array.from({ length: 130 }, seededRandom(i)));
    expect(starts.map(({ sampler }) => sampler.rngState)).toEqual(after.map(({ rngState }) => rngState));
  });

  it("lets the caller leave decode early, and continue from any position", async () => {
    const source = randomModel(SHAPE);
    await on(source, {}, (context) => {
      const expected = oneByOne(context, start(0, 21n), 30);
      const [first] = decodeAll(context, [start(0, 21n)], 8);
      for (const _ of context.decode?.([{ ...start(0, 5n), token: 3, pos: 8 }], 4) ?? []) break;
      const third = { ...start(0, 21n), token: first[7], pos: 8 };
      for (let i = 0; i < 8; i++) sample(third.sampler, new Float32Array(130));
      expect([...first, ...decodeAll(context, [third], 22)[0]]).toEqual(expected);
    });
  });

  it("chooses no token after a stop token, at the end of the context, or from logits that are not finite", async () => {
    const source = randomModel(SHAPE);
    const decode = (from: WeightSource, running: Running, most: number) =>
      on(from, {}, (context) => Array.from(context.decode?.([running], most) ?? [], ({ tokens }) => [...tokens]));
    const [[first]] = await decode(source, start(0, 1n, 0), 1);
    expect(await decode(source, { ...start(0, 1n, 0), stop: first }, 3)).toEqual([[first], [-1], [-1]]);
    const last = await decode(source, { ...start(0, 1n, 0), pos: 79 }, 3);
    expect(last).toEqual([[expect.any(Number)], [-1], [-1]]);
    expect(last[0][0]).toBeGreaterThanOrEqual(0);
    expect(await decode(scaled(source, { rmsFinalWeight: NaN }), start(0, 1n), 2)).toEqual([[-1], [-1]]);
    expect(await decode(scaled(source, { rmsFinalWeight: Infinity }), start(0, 1n, 0), 2)).toEqual([[-1], [-1]]);
  });

  it("may be disposed of twice, in either order; using a disposed object is an error that says so", async () => {
    const model = await backend.load(randomModel(SHAPE), SHAPE[6], { threads: 0 });
    const [first, second] = [model.openContext(1), model.openContext(1)];
    first.dispose();
    first.dispose();
    model.dispose();
    model.dispose();
    second.forward(entriesOf([1, 2]), 1); // keeps what it needs
    second.dispose();
    expect(() => first.forward(entriesOf([1]), 1)).toThrow("this context has been disposed");
    expect(() => [...(first.decode?.([start(0, 1n)], 1) ?? [])]).toThrow("this context has been disposed");
    expect(() => model.openContext(1)).toThrow("this model has been disposed");
  });

  it.each(["fp32", "fp16"] as const)(
    "goes on from a copied prefix as from one that was read: %s cache",
    async (kvPrecision) => {
      const tokens = randomTokens(6, 20, 130);
      await on(randomModel(SHAPE), { sequences: 3, kvPrecision }, (context) => {
        const rest = (sequence: number, from: number) =>
          bits(context.forward(entriesOf(tokens, sequence).slice(from), tokens.length - from));
        context.forward(entriesOf(tokens, 0), 0);
        const expected = [0, 1, 13, 19].map((from) => rest(0, from));
        context.forward(entriesOf(randomTokens(7, 40, 130), 2), 0); // what it held before is gone
        const copied = [0, 1, 13, 19].map((from) => {
          context.copy?.(0, 2, from);
          return rest(2, from);
        });
        expect(copied).toEqual(expected);
        context.copy?.(2, 2, 5);
        expect(rest(2, 5)).toBe(rest(0, 5));
      });
    },
  );

  it("refuses to copy from or to a sequence that does not exist, or beyond the context", async () => {
    await on(randomModel(SHAPE), { sequences: 2 }, (context) => {
      for (const [from, to, positions] of [
        [2, 0, 1],
        [0, -1, 1],
        [0, 1, 81],
        [0, 1, -1],
      ]) {
        expect(() => context.copy?.(from, to, positions)).toThrow(/from|to|positions/);
      }
    });
  });

  it("refuses a context that does not fit, with the numbers", async () => {
    await on(randomModel(SHAPE), {}, (_, model) => {
      expect(() => model.openContext(1 << 20)).toThrow(
        /the context needs [\d.]+ GB; this card has [\d.]+ GB free of 4\.3 GB/,
      );
    });
  });

  it.each<[what: string, shape: Shape, groupSize: number, message: RegExp]>([
    ["groups that do not divide a matrix", [12, 26, 1, 2, 1, 39, 8], 13, /groups that do not divide a matrix/],
    ["groups of 131", [1048, 1100, 1, 4, 2, 61, 8], 131, /cannot multiply int8 groups of 131.*fp16 weights can/],
    ["groups of 1 in a long row", [16, 11008, 1, 1, 1, 16, 8], 1, /cannot multiply int8 groups of 1 in a model/],
    ["heads of 2048", [2048, 16, 1, 1, 1, 16, 8], 0, /cannot hold heads of 2048 numbers at a context of 8/],
  ])("refuses sizes that no launch can multiply: %s", async (_, shape, groupSize, message) => {
    const source = groupSize > 0 ? quantized(randomModel(shape), groupSize) : randomModel(shape);
    await expect(on(source, {}, () => {})).rejects.toThrow(message);
  });

  it("refuses wrong arguments with errors", async () => {
    await on(randomModel(SHAPE), { sequences: 2 }, (context, model) => {
      const entry = (token: number, pos: number, sequence: number) => () =>
        context.forward([{ token, pos, sequence }], 1);
      for (const call of [entry(-1, 0, 0), entry(130, 0, 0), entry(0, -1, 0), entry(0, 80, 0), entry(0, 0, 2)]) {
        expect(call).toThrow();
      }
      expect(() => [...(context.decode?.([start(2, 1n)], 1) ?? [])]).toThrow("sequence out of range");
      expect(() => model.openContext(0)).toThrow();
    });
  });

  it("frees its memory: many models, one after the other", async () => {
    for (let i = 0; i < 300; i++) await on(randomModel([16, 24, 1, 2, 1, 40, 16]), { sequences: 3 }, () => {});
  });
});
