/*
 * Every backend chooses the tokens that sampler.ts chooses, whatever the logits, and draws the same coins.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Context, LoadedModel } from "../../src/backend/backend.ts";
import { buildSampler, sample } from "../../src/llama2/sampler.ts";
import { softmax } from "../../src/llama2/transformer.ts";
import { candidates } from "../helpers/backends.ts";
import type { Shape } from "../helpers/checkpoint.ts";
import { shortOrLong } from "../helpers/full.ts";
import { seededRandom } from "../helpers/random.ts";
import { randomModel } from "../helpers/sources.ts";

// a vocabulary that no vector width divides
const SHAPE: Shape = [8, 8, 1, 2, 2, 1003, 4];
const N = SHAPE[5];

/** Logits of many kinds. */
const KINDS: Record<string, (random: () => number) => number> = {
  "a few likely ones": (random) => (random() < 0.01 ? 10 * random() : -5 * random()),
  "a wide range": (random) => 200 * (random() - 0.5),
  "nearly equal": (random) => 1e-3 * random(),
  "all equal": () => 0.25,
  "many ties": (random) => Math.floor(4 * random()),
  "zeros of both signs": (random) => (random() < 0.5 ? 0 : -0),
  tiny: (random) => 1e-42 * random(),
  huge: (random) => 3e38 * (random() - 0.5),
};

const SETTINGS: [temperature: number, topp: number][] = [
  [0, 0.9],
  [1e-40, 0.9],
  [2 ** -126, 0.9],
  [1e-5, 0.9],
  [0.7, 0.9],
  [1, 0],
  [1, 1],
  [1, 0.9],
  [1, 0.999],
  [1, 1e-6],
  [1, 1e-30],
  [1.3, 0.5],
  [1e9, 0.001],
  [1e30, 0.9],
];

describe.each(candidates)("$name", ({ backend }) => {
  const source = randomModel(SHAPE);
  let model: LoadedModel;
  let context: Context;
  beforeAll(async () => {
    model = await backend.load(source, SHAPE[6], { threads: 1 });
    context = model.openContext(1);
  });
  afterAll(() => {
    context.dispose();
    model.dispose();
  });

  /** `draws` draws from logits of one kind, by this backend and by sampler.ts. */
  function draw(kind: (random: () => number) => number, [temperature, topp]: [number, number], draws: number) {
    const own = buildSampler(N, temperature, topp, 42n);
    const oracle = buildSampler(N, temperature, topp, 42n);
    const random = seededRandom(N);
    for (let i = 0; i < draws; i++) {
      const logits = Float32Array.from({ length: N }, () => kind(random));
      // what forward returns is the memory that sample looks at
      context.forward([{ token: 1, pos: 0, sequence: 0 }], 1).set(logits);
      expect(context.sample([own]), `draw ${i}`).toEqual([sample(oracle, logits)]);
    }
    expect(own.rngState).toBe(oracle.rngState);
  }

  describe.each(Object.entries(KINDS))("%s", (_, kind) => {
    it.each(SETTINGS)("temperature %d, top-p %d", (temperature, topp) => {
      draw(kind, [temperature, topp], shortOrLong(8, 40));
    });
  });

  it("from a nucleus whose end depends on rounding", () => {
    for (let likely = 700; likely < N; likely += shortOrLong(12, 3)) {
      // the likely ones, added up one after the other, are exactly top-p: one more belongs to the nucleus
      const logits = Float32Array.from({ length: N }, (_, i) => (i < likely ? 0 : -1));
      const probabilities = logits.slice();
      softmax(probabilities, N);
      const topp = probabilities.subarray(0, likely).reduce((sum, p) => Math.fround(sum + p), 0);
      const own = buildSampler(N, 1, topp, BigInt(likely));
      const oracle = buildSampler(N, 1, topp, BigInt(likely));
      for (let i = 0; i < 20; i++) {
        context.forward([{ token: 1, pos: 0, sequence: 0 }], 1).set(logits);
        expect(context.sample([own]), `${likely} likely ones`).toEqual([sample(oracle, logits.slice())]);
      }
    }
  });

  it("probabilities are the reference's bits, whatever the exponent", () => {
    const random = seededRandom(1);
    for (let i = 0; i < shortOrLong(40, 200); i++) {
      // from 0 down to where expf gives denormal numbers and zeros; every other time one 0 and only such numbers
      const logits = Float32Array.from({ length: N }, () => (i % 2 === 0 ? -110 * random() : -100 - 10 * random()));
      logits[0] = 0;
      const own = context.forward([{ token: 1, pos: 0, sequence: 0 }], 1);
      own.set(logits);
      context.sample([buildSampler(N, 1, 1, 1n)]);
      sample(buildSampler(N, 1, 1, 1n), logits);
      expect(own).toEqual(logits);
    }
  });

  it.each([1, 3])("from all rows of a batch, on %i threads", async (threads) => {
    const model = await backend.load(source, SHAPE[6], { threads });
    const context = model.openContext(1);
    const rows = Math.min(SHAPE[6], model.maxBatch);
    const batch = Array.from({ length: rows }, (_, pos) => ({ token: pos + 1, pos, sequence: 0 }));
    const samplers = () => batch.map(({ token }) => buildSampler(N, token / 2, 0.9, BigInt(token)));
    const logits = context.forward(batch, batch.length).slice();
    const expected = samplers().map((sampler, row) => sample(sampler, logits.subarray(row * N, (row + 1) * N)));
    expect(context.sample(samplers())).toEqual(expected);
    context.dispose();
    model.dispose();
  });

  it.each([NaN, Infinity, -Infinity])("no token where any logit is %d", (value) => {
    for (const at of [0, 1, 500, 999, 1000, N - 1]) {
      for (const temperature of [0, 1]) {
        const logits = context.forward([{ token: 1, pos: 0, sequence: 0 }], 1);
        logits[at] = value;
        const before = logits.slice();
        expect(context.sample([buildSampler(N, temperature, 0.9, 1n)])).toEqual([-1]);
        expect(logits).toEqual(before);
      }
    }
  });
});
