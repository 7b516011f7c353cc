/*
 * What each backend says a model takes, compared with what it allocates.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { ts } from "../../src/backend/ts/ts.ts";
import { PAGE } from "../../src/backend/wasm/kernels.ts";
import { fill, prepare } from "../../src/backend/wasm/load.ts";
import { wasm } from "../../src/backend/wasm/wasm.ts";
import { asInt8 } from "../../src/checkpoint/int8.ts";
import { mallocRunState } from "../../src/llama2/transformer.ts";
import { groupSizeOf, type Holdings, shapesOf, tensorsOf, type WeightSource } from "../../src/llama2/weights.ts";
import { candidates } from "../helpers/backends.ts";
import type { Shape } from "../helpers/checkpoint.ts";
import { ROOT } from "../helpers/golden.ts";
import { paper, quantized, randomModel } from "../helpers/sources.ts";

const SHAPE: Shape = [48, 72, 2, 6, 2, 75, 40];
const SOURCES: [what: string, source: WeightSource][] = [
  ["float32", randomModel(SHAPE)],
  ["float32 with a classifier of its own", randomModel([20, 33, 3, 5, 5, 130, 21], { untied: true })],
  ["int8", quantized(randomModel(SHAPE), 8)],
  ["int8 in groups that straddle rows", quantized(randomModel([64, 41, 2, 4, 2, 72, 16]), 8)],
  ["int8 while loading", asInt8(randomModel(SHAPE))],
  ["mixed formats", quantized(randomModel(SHAPE, { untied: true }), { wq: 16, wk: 8, w1: 24, w2: 36, wcls: 3 })],
];

describe("the estimate is what is allocated", () => {
  it.each(SOURCES)("wasm's memory, for any number of threads and sequences: %s", async (_, source) => {
    for (const [threads, sequences] of [
      [1, 1],
      [1, 5],
      [3, 2],
    ]) {
      const file = threads > 1 ? "kernels-shared.wasm" : "kernels.wasm";
      const module = new WebAssembly.Module(readFileSync(join(ROOT, "dist/backend/wasm", file)));
      const { seqLen } = source.config;
      const prepared = prepare(module, source, seqLen, threads, 0);
      const model = await fill(prepared, source, seqLen);
      model.openContext(sequences);
      const { weights, perSequence, scratch } = wasm.estimate(source, seqLen, { threads });
      const pages = Math.ceil((weights + scratch + sequences * perSequence) / PAGE);
      expect(prepared.memory.buffer.byteLength).toBe(pages * PAGE);
    }
  });

  it.each(SOURCES)("ts's arrays: %s", async (_, source) => {
    const { weights, perSequence, scratch } = ts.estimate(source, source.config.seqLen, { threads: 1 });
    const zeros = zerosLike(source);
    expect(weights).toBe(await bytesOfArrays(() => ts.load(zeros, source.config.seqLen, { threads: 1 })));
    expect(perSequence).toBe(await bytesOfArrays(() => mallocRunState(source.config)));
    expect(scratch).toBe(0);
  });
});

describe.each(candidates)("the estimate of $name", ({ backend, threads }) => {
  const estimate = (source: Holdings, contextLength = source.config.seqLen, memory?: number) => {
    return backend.estimate(source, contextLength, { threads: threads[0], ...(memory && { memory }) });
  };
  const total = (source: Holdings, contextLength?: number) => {
    const { weights, perSequence, scratch } = estimate(source, contextLength);
    return weights + perSequence + scratch;
  };

  it("counts a model of 7e9 weights without reading any", () => {
    const numbers = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008) + 2 * 32000 * 4096;
    expect(estimate(paper({})).weights / (4 * numbers)).toBeCloseTo(1, 3);
    expect(estimate(paper({}, 64)).weights / ((1 + 4 / 64) * numbers)).toBeCloseTo(1, 1);
    expect(estimate(asInt8(paper({}))).weights).toBe(estimate(paper({}, 64)).weights);
    expect(estimate(paper({})).perSequence / (4 * 2 * 32 * 2048 * 4096)).toBeCloseTo(1, 2);
  });

  it("says how much of this machine's memory is available, where that is known", () => {
    expect(estimate(paper({}), 16, 1e9).available).toBe(1e9);
    expect(estimate(paper({}), 16).available).toBeGreaterThanOrEqual(2 ** 32);
  });

  it("decides whether a model loads: with one byte too little, the model is refused before anything is read", async () => {
    const source = randomModel(SHAPE);
    const unread = { ...source, pieces: paper({}).pieces };
    const refused = backend.load(unread, 40, { threads: threads[0], memory: total(source) - 1 });
    const weights = (estimate(source).weights / 1e9).toFixed(1);
    await expect(refused).rejects.toMatchObject({
      code: "E_LIMIT",
      message: expect.stringContaining(`the weights need ${weights} GB`),
    });
    (await backend.load(source, 40, { threads: threads[0], memory: total(source) })).dispose();
  });
});

/** The same shape and formats; all numbers are zeros, in arrays that are there before. */
function zerosLike(source: WeightSource): WeightSource {
  const most = Math.max(...tensorsOf(source).map(({ d, n }) => d * n));
  const [values, q] = [new Float32Array(most), new Int8Array(most)];
  const shapes = shapesOf(source.config);
  return {
    config: source.config,
    sharedClassifier: source.sharedClassifier,
    formatOf: (name) => source.formatOf(name),
    async *pieces(name) {
      const size = shapes[name].d * shapes[name].n;
      const groupSize = groupSizeOf(source.formatOf(name));
      if (groupSize === 0) yield { offset: 0, values: values.subarray(0, size) };
      else yield { offset: 0, q: q.subarray(0, size), scales: values.subarray(0, size / groupSize) };
    },
  };
}

/** Bytes of all typed arrays that `work` makes for itself. */
async function bytesOfArrays(work: () => unknown): Promise<number> {
  let bytes = 0;
  for (const Original of [Float32Array, Float64Array, Int32Array, Int8Array] as (new (
    ...a: never[]
  ) => ArrayView)[]) {
    vi.stubGlobal(
      Original.name,
      class extends Original {
        constructor(...args: never[]) {
          super(...args);
          if (typeof args[0] === "number") bytes += this.byteLength;
        }
      },
    );
  }
  try {
    await work();
  } finally {
    vi.unstubAllGlobals();
  }
  return bytes;
}
type ArrayView = { readonly byteLength: number };
