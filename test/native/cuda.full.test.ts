/*
 * The cuda backend, run by its emulator, against the reference. What only a GPU can show is proved by gpu:check.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { buildDriver, compileForGpu, hasCompiler, nvcc } from "../../scripts/cuda-emulator.mjs";
import { quantizeWeights } from "../../src/checkpoint/llama2c/write.ts";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { buildSampler, sample } from "../../src/llama2/sampler.ts";
import { forward } from "../../src/llama2/transformer.ts";
import { isVector, loadTransformer, type TensorName, type WeightSource } from "../../src/llama2/weights.ts";
import type { Shape } from "../helpers/checkpoint.ts";
import { CudaDriver, type DriverOptions, relativeError } from "../helpers/cudaDriver.ts";
import {
  type GenerateCase,
  golden,
  hasShared,
  needsShared,
  ROOT,
  sharedFile,
  sharedGolden,
} from "../helpers/golden.ts";
import { seededRandom } from "../helpers/random.ts";
import { randomModel, wholeTensor } from "../helpers/sources.ts";
import { tempDir } from "../helpers/temp.ts";

const needsGpp = hasCompiler ? "" : " (skipped: needs g++ on Linux, which is not here)";
const random = seededRandom(11);
const uniform = (least: number, most: number) => least + Math.floor(random() * (most - least + 1));

/** The reference's logits after each of the tokens. */
async function expectedLogits(source: WeightSource, tokens: readonly number[]): Promise<Float32Array[]> {
  const transformer = await loadTransformer(source);
  return tokens.map((token, pos) => forward(transformer, token, pos).slice());
}

/** Round to the nearest fp16, ties to even. */
function toHalf(x: number): number {
  const exponent = Math.max(-14, Math.floor(Math.log2(Math.abs(x))));
  const ulp = 2 ** (exponent - 10);
  const whole = x / ulp;
  const rounded = Math.round(whole);
  return (Math.abs(whole % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded) * ulp;
}

/** The same weights as the device has them after it has converted them. */
function converted(source: WeightSource, precision: "fp16" | "int8", groupSize: number): WeightSource {
  const { config, sharedClassifier } = source;
  const isInt8 = (name: TensorName) => precision === "int8" && !isVector(name);
  return {
    config,
    sharedClassifier,
    formatOf: (name) => (isInt8(name) ? { groupSize } : "float32"),
    async *pieces(name, layer) {
      const values = await wholeTensor(source, name, layer);
      if (isInt8(name)) {
        const { q, s } = quantizeWeights(values, groupSize);
        yield { offset: 0, q, scales: s };
      } else {
        yield { offset: 0, values: precision === "fp16" && !isVector(name) ? values.map(toHalf) : values };
      }
    },
  };
}

const open = (shape: Shape, untied = false) => randomModel(shape, { untied, seed: uniform(1, 1e6) });
const entriesOf = (tokens: readonly number[], slot = 0, first = 0) =>
  tokens.map((token, i) => ({ token, pos: first + i, slot }));
const tokensOf = (count: number, vocabSize: number) => Array.from({ length: count }, () => uniform(0, vocabSize - 1));

/** dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen: GQA, MQA, head sizes of 2, 6, 10, 130, and prime sizes */
const ODD_SHAPES: Shape[] = [
  [48, 128, 2, 6, 2, 130, 24],
  [32, 88, 2, 4, 1, 97, 24],
  [18, 41, 1, 3, 3, 53, 24],
  [10, 7, 2, 5, 5, 33, 24],
  [130, 67, 1, 1, 1, 40, 24],
  [1048, 1100, 1, 4, 2, 61, 8],
];

/** Each of these runs blocks and threads in another order. */
const SCHEDULES: Record<string, Record<string, string>> = {
  "in order": {},
  "block 0 last, threads backwards, as a Hopper that starts kernels early": {
    EMULATOR_SCHEDULE: "reverse",
    EMULATOR_LAZY: "1",
    EMULATOR_COMPUTE: "9",
    EMULATOR_DRIVER: "12030",
    EMULATOR_RUNTIME: "12030",
  },
  "in random order, four blocks at once": { EMULATOR_SCHEDULE: "random", EMULATOR_SEED: "7", EMULATOR_RESIDENT: "4" },
  "with read-only loads watched": { EMULATOR_READ_ONLY: "1" },
};

describe.skipIf(!hasCompiler)(`the cuda backend on the emulator${needsGpp}`, () => {
  let program: string;
  beforeAll(async () => {
    program = await buildDriver(tempDir());
  }, 300_000);

  const driver = (source: WeightSource, options: DriverOptions = {}) => new CudaDriver(program, source, options);

  describe.each(Object.entries(SCHEDULES))("%s", (_, env) => {
    it.each(ODD_SHAPES)("computes the reference's logits within 1e-4: %i %i %i %i %i %i", async (...shape) => {
      const source = open(shape, uniform(0, 1) === 1);
      const tokens = tokensOf(Math.min(12, shape[6]), shape[5]);
      const alone = driver(source, { env });
      for (const entry of entriesOf(tokens)) alone.forward([entry]);
      const expected = await expectedLogits(source, tokens);
      const together = driver(source, { env }).forward(entriesOf(tokens));
      for (const run of [await alone.run(), await together.run()]) {
        expect(run.status, run.lines.join("\n")).toBe(0);
        expect(run.rows.length).toBe(tokens.length);
        for (const [pos, row] of run.rows.entries()) expect(relativeError(row, expected[pos])).toBeLessThan(1e-4);
      }
    });
  });

  it("splits positions over blocks without a difference beyond 1e-4", async () => {
    const source = open([16, 24, 1, 2, 1, 40, 200]);
    const tokens = tokensOf(200, 40);
    const run = driver(source);
    for (let first = 0; first < 200; first += 25) {
      run.forward(entriesOf(tokens.slice(first, first + 25), 0, first));
    }
    const expected = await expectedLogits(source, tokens);
    for (const [pos, row] of (await run.run()).rows.entries())
      expect(relativeError(row, expected[pos])).toBeLessThan(1e-4);
  });

  it.each([
    ["fp16", 0, 1e-4],
    ["int8", 32, 1e-2],
    ["int8", 4, 1e-2],
    ["int8", 6, 1e-2],
  ] as const)(
    "computes in %s what the reference does with the same rounded weights (groups of %i)",
    async (precision, groupSize, tolerance) => {
      const shape: Shape = [96, 192, 2, 4, 2, 96, 16];
      const source = open(shape, true);
      const tokens = tokensOf(12, 96);
      const expected = await expectedLogits(converted(source, precision, groupSize), tokens);
      const { rows, lines, status } = await driver(source, { precision, groupSize }).forward(entriesOf(tokens)).run();
      expect(status, lines.join("\n")).toBe(0);
      for (const [pos, row] of rows.entries()) expect(relativeError(row, expected[pos])).toBeLessThan(tolerance);
    },
  );

  it.each([
    [96, 32],
    [41, 8], // groups straddle rows
  ])("reads int8 weights as they are: a hidden size of %i, groups of %i", async (hidden, groupSize) => {
    const float = open([64, hidden, 2, 4, 2, 96, 16], true);
    const source = converted(float, "int8", groupSize);
    const tokens = tokensOf(12, 96);
    const expected = await expectedLogits(source, tokens);
    for (const precision of ["int8", "fp32"] as const) {
      const { rows, lines, status } = await driver(source, { precision, groupSize }).forward(entriesOf(tokens)).run();
      expect(status, lines.join("\n")).toBe(0);
      for (const [pos, row] of rows.entries()) {
        expect(relativeError(row, expected[pos])).toBeLessThan(precision === "int8" ? 1e-2 : 5e-2);
      }
    }
  });

  it("keeps keys and values in fp16 within 2e-3", async () => {
    const source = open([48, 128, 2, 6, 2, 130, 24]);
    const tokens = tokensOf(20, 130);
    const { rows } = await driver(source, { kv: "fp16" }).forward(entriesOf(tokens)).run();
    const expected = await expectedLogits(source, tokens);
    for (const [pos, row] of rows.entries()) expect(relativeError(row, expected[pos])).toBeLessThan(2e-3);
  });

  it.each(["fp32", "fp16", "int8"] as const)(
    "gives a token the same bits alone and beside others, every time: %s",
    async (precision) => {
      const source = open([48, 96, 2, 6, 2, 96, 24]);
      const options = { precision, groupSize: 16, slots: 11 };
      const prompts = Array.from({ length: 11 }, () => tokensOf(6, 96));
      const together = driver(source, options);
      for (let pos = 0; pos < 6; pos++) together.forward(prompts.map((p, slot) => ({ token: p[pos], pos, slot })));
      const alone = driver(source, options);
      for (const entry of entriesOf(prompts[7], 3)) alone.forward([entry]);
      const first = await together.run();
      expect(first.rows.filter((_, i) => i % 11 === 7)).toEqual((await alone.run()).rows);
      expect((await together.run()).rows).toEqual(first.rows);
    },
  );

  it("returns as many of the last rows as are asked for, and none", async () => {
    const source = open([16, 24, 1, 2, 1, 40, 16]);
    const entries = entriesOf(tokensOf(9, 40));
    const { rows } = await driver(source).forward(entries, 0).forward(entries, 3).forward(entries).run();
    expect(rows.length).toBe(12);
    expect(rows.slice(0, 3)).toEqual(rows.slice(9));
  });

  const goldenCases = [
    [
      "the bundled model",
      "",
      true,
      () => golden<{ cases: GenerateCase[] }>("bundled-model.json"),
      () => `${ROOT}models/stories2M.bin`,
    ],
    [
      "stories260K",
      needsShared,
      hasShared,
      () => sharedGolden<{ cases: GenerateCase[] }>("generate-stories260K.json"),
      () => sharedFile("models/stories260K.bin"),
    ],
  ] as const;
  it.for(goldenCases.map((c) => [c[0] + c[1], ...c] as const))(
    "writes run.c's greedy text over 256 tokens: %s",
    { timeout: 600_000 },
    async ([_name, _model, _skipped, here, read, path], { skip }) => {
      skip(!here);
      const wanted = read().cases.find((c) => c.temperature === 0 && c.prompt === "");
      if (!wanted) throw new Error("there is no such golden");
      const start = { token: 1, pos: 0, slot: 0, temperature: 0, topp: 0.9, rngState: 1n, stop: 1 };
      const { lines } = await driver(await openFile(path()))
        .decode(wanted.tokens.length - 1, [start])
        .run();
      const written = lines[0].trim().split(" ").map(Number);
      const expected = wanted.tokens.slice(1);
      expect(written).toEqual(expected);
    },
  );

  it("decodes several sequences as each alone, and ends each at its stop token or the end of the context", async () => {
    const source = open([16, 24, 1, 2, 1, 40, 20]);
    const start = (slot: number) => ({
      token: slot,
      pos: 0,
      slot,
      temperature: 1,
      topp: 0.9,
      rngState: BigInt(slot + 5),
      stop: -1,
    });
    const columns = (line: string, count: number, e: number) =>
      line
        .trim()
        .split(" ")
        .filter((_, i) => i % count === e)
        .map(Number);
    const alone = await Promise.all(
      [0, 1, 2].map(async (slot) => {
        const { lines } = await driver(source, { slots: 3 })
          .decode(25, [start(slot)])
          .run();
        return lines[0];
      }),
    );
    const stop = Number(alone[1].split(" ")[4]);
    const { lines } = await driver(source, { slots: 3 })
      .decode(25, [start(0), { ...start(1), stop }, start(2)])
      .run();
    for (const e of [0, 2]) expect(columns(lines[0], 3, e)).toEqual(columns(alone[e], 1, 0));
    expect(columns(alone[0], 1, 0).slice(20)).toEqual([-1, -1, -1, -1, -1]);
    const first = columns(alone[1], 1, 0).indexOf(stop);
    expect(columns(lines[0], 3, 1)).toEqual([
      ...columns(alone[1], 1, 0).slice(0, first + 1),
      ...Array(24 - first).fill(-1),
    ]);
    expect(lines[1].split(" ")[1]).toBe("20");
  });

  it("draws the reference's tokens from the same logits, 5,000 times", async () => {
    const draws = 625;
    for (const [vocabSize, temperature, topp, spread] of [
      [512, 1, 0.9, 4],
      [512, 1, 1, 4],
      [2048, 0.7, 0.95, 6],
      [300, 1.5, 0.5, 0],
      [2048, 1, 0, 0.001],
      [97, 1e-39, 0.9, 4],
      [9000, 1, 0.9, 9],
      [97, 1, 1e-6, 0.01],
      [512, 1e9, 0.001, 4],
    ]) {
      const source = open([4, 4, 1, 1, 1, vocabSize, 4]);
      const logits = Float32Array.from({ length: draws * vocabSize }, () => spread * (random() + random() - 1));
      // ties among neighbours, and rows of ties only
      for (let i = 0; i < logits.length; i += 7) logits[i] = Math.round(logits[i]);
      const sampler = buildSampler(vocabSize, temperature, topp, 42n);
      const { lines } = await driver(source).sample(draws, temperature, topp, 42n, logits).run();
      const expected = Array.from({ length: draws }, (_, i) =>
        sample(sampler, logits.slice(i * vocabSize, (i + 1) * vocabSize)),
      );
      const drawn = lines[0].split(" ");
      expect(drawn.slice(0, draws).map(Number)).toEqual(expected);
      expect(BigInt(drawn[draws])).toBe(sampler.rngState);
    }
  });

  it("refuses a model, and then a context, that does not fit, with the numbers", async () => {
    const source = open([48, 128, 2, 6, 2, 130, 24]);
    const model = await driver(source, { env: { EMULATOR_MEMORY: "1000000" } }).run();
    expect(model.status).toBe(1);
    expect(model.lines[0]).toMatch(
      /^E_DEVICE_OOM the model needs [\d.]+ GB; this card has 0\.0010 GB free of 0\.0010 GB$/,
    );
    const context = await driver(source, { slots: 900, env: { EMULATOR_MEMORY: "18000000" } }).run();
    expect(context.lines[0]).toMatch(/^E_DEVICE_OOM the context needs [\d.]+ GB; this card has [\d.]+ GB free/);
  });

  it("refuses what no launch can multiply: uneven or too fine int8 groups, heads that are too large; and old GPUs", async () => {
    const uneven = await driver(open([12, 26, 1, 2, 1, 39, 8]), { precision: "int8", groupSize: 13 }).run();
    expect(uneven.lines[0]).toBe("groups that do not divide a matrix");
    const refused = await driver(open([1048, 1100, 1, 4, 2, 61, 8]), { precision: "int8", groupSize: 131 }).run();
    expect(refused.lines[0]).toBe(
      "E_DEVICE_UNAVAILABLE the cuda backend cannot multiply int8 groups of 131 in a model of this size; fp16 weights can",
    );
    const tooFine = await driver(open([16, 11008, 1, 1, 1, 16, 8]), { precision: "int8", groupSize: 1 }).run();
    expect(tooFine.lines[0]).toMatch("cannot multiply int8 groups of 1 in a model of this size");
    const heads = await driver(open([2048, 16, 1, 1, 1, 16, 8])).run();
    expect(heads.lines[0]).toBe(
      "E_DEVICE_UNAVAILABLE the cuda backend cannot hold heads of 2048 numbers at a context of 8",
    );
    const pascal = await driver(open([16, 16, 1, 1, 1, 16, 8]), { env: { EMULATOR_COMPUTE: "6" } }).run();
    expect(pascal.lines[0]).toBe(
      "E_DEVICE_UNAVAILABLE emulator is older than Turing, the oldest GPU that can run this",
    );
    const source = open([26, 39, 1, 1, 1, 39, 8]);
    const { status, lines } = await driver(source, { precision: "int8", groupSize: 13 })
      .forward(entriesOf([1, 2]))
      .run();
    expect(status, lines.join("\n")).toBe(0);
  });

  it("says when there is no device", async () => {
    const { lines } = await driver(open([4, 4, 1, 1, 1, 8, 4]), { env: { EMULATOR_DEVICES: "0" } }).run();
    expect(lines[0]).toMatch(/^E_DEVICE_UNAVAILABLE there is no NVIDIA GPU$/);
  });
});

it.skipIf(!nvcc)(
  `compiles for every architecture${nvcc ? "" : " (skipped: needs nvcc, which is not here)"}`,
  async () => {
    await compileForGpu(tempDir());
  },
  600_000,
);
