/*
 * What every exact backend must do, whatever it runs on: the same bits as the reference. Written once; each
 * backend's own test file calls it.
 */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { Backend, Context, Entry, LoadedModel } from "../../src/backend/backend.js";
import { buildSampler, sample } from "../../src/llama2/sampler.js";
import { buildTransformer, forward, type WeightSource } from "../../src/llama2/transformer.js";
import { SHAPES, type Shape } from "../helpers/checkpoint.js";
import { type ForcedLogits, forcedTokens, golden } from "../helpers/golden.js";
import { randomModel, scaled, withTies } from "../helpers/sources.js";

interface GoldenCase extends ForcedLogits {
  shape: string;
  seed: number;
  untied: boolean;
}
const GOLDENS = golden<{ cases: GoldenCase[] }>("forced-logits.json").cases;

/** dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen: what panels and lanes do not divide. */
const ODD_SHAPES: [why: string, shape: Shape][] = [
  ["one of everything", [2, 1, 1, 1, 1, 3, 5]],
  ["head size 2", [10, 7, 2, 5, 5, 33, 20]],
  ["head size 6, groups of 3", [36, 50, 2, 6, 2, 259, 35]],
  ["head size 128, one head", [128, 72, 1, 1, 1, 40, 18]],
  ["head size 34, two heads for one", [68, 97, 3, 2, 1, 101, 33]],
  ["head size 18, hidden smaller than dim", [90, 31, 2, 5, 1, 64, 40]],
  ["panels divide everything", [64, 96, 2, 4, 2, 128, 48]],
];

/** Seeded whole numbers below n. */
function dice(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

/** Some tokens for a sequence as long as the context. */
function tokensOf({ config }: WeightSource, sequence: number): number[] {
  return Array.from({ length: config.seqLen }, (_, p) => (p * 7919 + sequence * 31 + 1) % config.vocabSize);
}

/** The reference's logits after each token. */
function reference(source: WeightSource, tokens: number[]): Float32Array[] {
  const transformer = buildTransformer(source);
  return tokens.map((token, pos) => forward(transformer, token, pos).slice());
}

const entries = (tokens: number[], pos: number, sequence = 0): Entry[] =>
  tokens.map((token, i) => ({ token, pos: pos + i, sequence }));

/** Equal as bits: -0 is not 0. Says where not, instead of printing thousands of numbers. */
function expectSameBits(found: Float32Array, expected: Float32Array, where: string): void {
  const bits = (floats: Float32Array) => new Uint32Array(floats.slice().buffer);
  const [a, b] = [bits(found), bits(expected)];
  const different = a.findIndex((word, i) => word !== b[i]);
  expect({ where, length: a.length, different }).toEqual({ where, length: b.length, different: -1 });
}

/** Read `tokens` as sequence 0, up to `step` at a time, and compare every row of logits. */
function expectRows(context: Context, tokens: number[], rows: Float32Array[], step: number): void {
  const most = Math.min(step, context.maxBatch);
  for (let pos = 0; pos < tokens.length; pos += most) {
    const some = tokens.slice(pos, pos + most);
    const logits = context.forward(entries(some, pos), "all");
    const { length } = rows[0];
    expect(logits.length).toBe(some.length * length);
    for (let i = 0; i < some.length; i++) {
      expectSameBits(logits.subarray(i * length, (i + 1) * length), rows[pos + i], `position ${pos + i}`);
    }
  }
}

/** Load, test, dispose. */
function withModel(backend: Backend, source: WeightSource, threads: number, test: (model: LoadedModel) => void): void {
  const model = backend.load(source, { threads });
  try {
    expect(model.threads).toBe(threads);
    test(model);
  } finally {
    model.dispose();
  }
}

export function testBackend(backend: Backend, threadCounts: readonly number[]): void {
  describe.each(threadCounts)(`${backend.name}, %i threads`, (threads) => {
    it.each(GOLDENS)(
      "computes run.c's logits: $shape, seed $seed, untied $untied",
      ({ shape, seed, untied, ...forced }) => {
        const tokens = forcedTokens(forced);
        withModel(backend, randomModel(SHAPES[shape], { seed, untied }), threads, (model) => {
          for (const step of [1, 64]) {
            const context = model.openContext(1);
            const hash = createHash("sha256");
            for (let pos = 0; pos < tokens.length; pos += Math.min(step, context.maxBatch)) {
              const some = tokens.slice(pos, pos + Math.min(step, context.maxBatch));
              const logits = context.forward(entries(some, pos), "all");
              hash.update(new Uint8Array(logits.slice().buffer));
            }
            expect(hash.digest("hex")).toBe(forced.sha256);
            context.dispose();
          }
        });
      },
    );

    it.each(ODD_SHAPES)("equals the reference: %s", (_why, shape) => {
      for (const untied of [false, true]) {
        const source = randomModel(shape, { seed: 3, untied });
        const tokens = tokensOf(source, 0);
        const rows = reference(source, tokens);
        withModel(backend, source, threads, (model) => {
          for (const step of [1, 2, 5, 64]) {
            const context = model.openContext(1);
            expectRows(context, tokens, rows, step);
            context.dispose();
          }
        });
      }
    });

    it("equals the reference where e^x is 0 or infinite", () => {
      const source = scaled(randomModel(SHAPES.gqa), { w1: 2 ** 9, wq: 2 ** 7, wcls: 2 ** 5 });
      const tokens = tokensOf(source, 0);
      withModel(backend, source, threads, (model) =>
        expectRows(model.openContext(1), tokens, reference(source, tokens), 7),
      );
    });

    it("reads a prompt as long as the context, in batches as large as they come", () => {
      const source = randomModel([32, 48, 2, 4, 2, 70, 200]);
      const tokens = tokensOf(source, 0);
      withModel(backend, source, threads, (model) =>
        expectRows(model.openContext(1), tokens, reference(source, tokens), Infinity),
      );
    });

    it("computes no logits, the last ones, or all", () => {
      const source = randomModel(SHAPES.tiny);
      const tokens = tokensOf(source, 0);
      const rows = reference(source, tokens);
      withModel(backend, source, threads, (model) => {
        const context = model.openContext(1);
        const step = Math.min(3, context.maxBatch);
        context.forward(entries(tokens.slice(0, step), 0), "none");
        const last = context.forward(entries(tokens.slice(step, 2 * step), step), "last");
        expectSameBits(last, rows[2 * step - 1], "last");
      });
    });

    it("keeps sequences apart in any mixture", () => {
      const source = randomModel([48, 64, 2, 6, 3, 90, 40], { seed: 5 });
      const sequences = Array.from({ length: 5 }, (_, s) => tokensOf(source, s));
      const rows = sequences.map((tokens) => reference(source, tokens));
      withModel(backend, source, threads, (model) => {
        const context = model.openContext(5);
        const roll = dice(threads);
        const read = sequences.map(() => 0);
        while (read.some((pos) => pos < source.config.seqLen)) {
          // a few tokens of a few sequences, not in any order
          const batch: Entry[] = [];
          for (let i = 0, most = 1 + roll(Math.min(12, context.maxBatch)); i < most; i++) {
            const sequence = roll(5);
            const pos = read[sequence];
            if (pos === source.config.seqLen) continue;
            batch.push({ token: sequences[sequence][pos], pos, sequence });
            read[sequence]++;
          }
          if (batch.length === 0) continue;
          const logits = context.forward(batch, "all");
          const { vocabSize } = source.config;
          for (const [i, { pos, sequence }] of batch.entries()) {
            const row = logits.subarray(i * vocabSize, (i + 1) * vocabSize);
            expectSameBits(row, rows[sequence][pos], `position ${pos} of sequence ${sequence}`);
          }
        }
      });
    });

    it("keeps contexts apart, and uses the room of closed ones again", () => {
      const source = randomModel(SHAPES.tiny);
      const [one, two] = [tokensOf(source, 1), tokensOf(source, 2)];
      const rows = [reference(source, one), reference(source, two)];
      withModel(backend, source, threads, (model) => {
        for (let round = 0; round < 3; round++) {
          const a = model.openContext(1);
          const b = model.openContext(3);
          const c = model.openContext(1);
          for (let pos = 0; pos < one.length; pos++) {
            expectSameBits(a.forward(entries([one[pos]], pos), "all"), rows[0][pos], `context a, ${pos}`);
            expectSameBits(b.forward(entries([two[pos]], pos, 2), "all"), rows[1][pos], `context b, ${pos}`);
            if (pos === 5) c.dispose();
          }
          a.dispose();
          b.dispose();
        }
      });
    });
  });

  describe(`${backend.name}, sampling`, () => {
    const [threads] = threadCounts;

    it("samples as sampler.ts does", () => {
      const plain = scaled(randomModel([16, 24, 1, 2, 2, 333, 64], { seed: 8 }), { tokenEmbeddingTable: 4 });
      for (const source of [plain, withTies(plain, 7)]) {
        const tokens = tokensOf(source, 0);
        const rows = reference(source, tokens);
        withModel(backend, source, threads, (model) => {
          const context = model.openContext(1);
          for (const temperature of [0, 1e-45, 1e-39, 2 ** -126, 1e-37, 0.01, 0.3, 1, 2, 1e9]) {
            for (const topp of [0, 1e-7, 0.001, 0.3, 0.9, 0.999999, 1]) {
              const ours = buildSampler(333, temperature, topp, 77n);
              const theirs = buildSampler(333, temperature, topp, 77n);
              for (let pos = 0; pos < tokens.length; pos++) {
                context.forward(entries([tokens[pos]], pos), "last");
                const draw = { temperature, topp, pos };
                expect({ ...draw, token: context.sample(ours, 0) }).toEqual({
                  ...draw,
                  token: sample(theirs, rows[pos].slice()),
                });
              }
              expect(ours.rngState).toBe(theirs.rngState);
            }
          }
        });
      }
    });

    it("samples from any row of a batch", () => {
      const source = randomModel([16, 24, 1, 2, 2, 45, 64], { seed: 8 });
      const tokens = tokensOf(source, 0);
      const rows = reference(source, tokens);
      withModel(backend, source, threads, (model) => {
        const context = model.openContext(1);
        const batch = tokens.slice(0, Math.min(tokens.length, context.maxBatch));
        context.forward(entries(batch, 0), "all");
        const [ours, theirs] = [buildSampler(45, 1, 0.9, 3n), buildSampler(45, 1, 0.9, 3n)];
        for (let row = batch.length - 1; row >= 0; row--) {
          expect(context.sample(ours, row)).toBe(sample(theirs, rows[row].slice()));
        }
      });
    });
  });
}
