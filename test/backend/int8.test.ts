import { describe, expect, it } from "vitest";
import type { Backend } from "../../src/backend/backend.js";
import { ts } from "../../src/backend/ts/ts.js";
import { wasm } from "../../src/backend/wasm/wasm.js";
import { quantizedRows } from "../../src/llama2/quantize.js";
import { buildTransformer, forward, type WeightSource } from "../../src/llama2/transformer.js";
import type { Shape } from "../helpers/checkpoint.js";
import { quantized, randomModel, scaled } from "../helpers/sources.js";

const BACKENDS: [name: string, backend: Backend, threads: number][] = [
  ["ts", ts, 1],
  ["wasm, 1 thread", wasm, 1],
  ["wasm, 3 threads", wasm, 3],
];

/** dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen */
const SHAPES: [why: string, groupSize: number, shape: Shape][] = [
  ["groups divide every row", 16, [48, 128, 2, 6, 2, 112, 40]],
  ["groups of 4", 4, [64, 172, 2, 8, 4, 100, 40]],
  ["groups of 2", 2, [36, 50, 2, 6, 3, 77, 40]],
  ["groups straddle the rows of w2", 32, [32, 88, 2, 4, 1, 67, 40]],
  ["groups straddle the rows of w2, and end at every second column", 12, [36, 50, 2, 6, 3, 77, 40]],
  ["groups of 9: odd", 9, [18, 27, 2, 3, 3, 50, 40]],
  ["groups of 1", 1, [10, 7, 1, 5, 5, 33, 20]],
  ["groups of 4 rows", 64, [16, 24, 2, 2, 1, 44, 40]],
  ["odd rows, groups that end at every fifth column", 50, [10, 35, 2, 5, 5, 45, 40]],
];

const tokensOf = ({ config }: WeightSource, sequence: number) =>
  Array.from({ length: config.seqLen }, (_, p) => (p * 7919 + sequence * 31 + 1) % config.vocabSize);

/** The reference's logits after each token, as bits. */
function reference(source: WeightSource, tokens: number[]): Uint32Array[] {
  const transformer = buildTransformer(source, quantizedRows);
  return tokens.map((token, pos) => bits(forward(transformer, token, pos)));
}

/** Numbers that are NaN in one are NaN in the other, whichever NaN; all else is compared as bits, where -0 is not 0. */
const bits = (floats: Float32Array) =>
  new Uint32Array(floats.map((value) => (Number.isNaN(value) ? Number.NaN : value)).buffer);

describe.each(BACKENDS)("int8 on %s", (_name, backend, threads) => {
  /** Read two sequences side by side, up to `step` entries at a time, and compare with the reference. */
  function expectReference(source: WeightSource, step: number) {
    const sequences = [0, 1].map((sequence) => tokensOf(source, sequence));
    const rows = sequences.map((tokens) => reference(source, tokens));
    const model = backend.load(source, { threads });
    const context = model.openContext(2);
    const entries = sequences[0].flatMap((token, pos) => [
      { token, pos, sequence: 0 },
      { token: sequences[1][pos], pos, sequence: 1 },
    ]);
    const { vocabSize } = source.config;
    for (let at = 0; at < entries.length; ) {
      const batch = entries.slice(at, at + Math.min(step, context.maxBatch));
      const logits = bits(context.forward(batch, "all"));
      for (const [i, { pos, sequence }] of batch.entries()) {
        const row = logits.subarray(i * vocabSize, (i + 1) * vocabSize);
        const different = row.findIndex((word, token) => word !== rows[sequence][pos][token]);
        expect({ pos, sequence, different }).toEqual({ pos, sequence, different: -1 });
      }
      at += batch.length;
    }
    model.dispose();
  }

  it.each(SHAPES)("equals the reference: %s", (_why, groupSize, shape) => {
    for (const untied of [false, true]) {
      const source = quantized(randomModel(shape, { seed: 4, untied }), groupSize);
      for (const step of [1, 5, 64]) expectReference(source, step);
    }
  });

  it.each([
    ["too small for a scale", { rmsAttWeight: 2 ** -149 }],
    ["zero", { rmsAttWeight: 0, rmsFfnWeight: 0 }],
    ["infinite", { w1: 2 ** 120, w3: 2 ** 120 }],
  ])("equals the reference where activations are %s", (_what, factors) => {
    const model = randomModel([32, 48, 2, 2, 2, 60, 20]);
    expectReference(quantized(scaled(model, factors), 16), 3);
  });
});
