/*
 * What a backend says a model takes, compared with the peak memory of a real process.
 */
import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { hasAddon } from "../helpers/backends.ts";
import { checkpointFile, type Shape } from "../helpers/checkpoint.ts";
import { runScript } from "../helpers/child.ts";
import { ROOT } from "../helpers/golden.ts";

/** Many weights; many positions; many tokens in the vocabulary. */
const SHAPES: Record<string, Shape> = {
  weights: [768, 2048, 6, 12, 12, 8000, 256],
  positions: [256, 512, 4, 8, 4, 512, 4096],
  vocabulary: [288, 768, 6, 6, 6, 32000, 256],
};
const MB = 2 ** 20;

const paths = new Map<Shape, string>();
function fileOf(shape: Shape): string {
  const path = paths.get(shape) ?? checkpointFile(shape);
  paths.set(shape, path);
  return path;
}

/**
 * The peak of a process that loads a model and fills all slots of a context, less that of one with a model of nearly
 * nothing; and the estimate.
 */
async function measure(backend: string, shape: Shape, threads: number, sequences: number, int8: boolean) {
  const script = `
    import { readFileSync, writeFileSync } from "node:fs";
    import { availableBackends } from "${ROOT}/dist/backend/load.js";
    import { openFile } from "${ROOT}/dist/checkpoint/openFile.js";
    import { asInt8 } from "${ROOT}/dist/checkpoint/int8.js";
    import { buildSampler } from "${ROOT}/dist/llama2/sampler.js";
    const backend = (await availableBackends()).find(({ name }) => name === "${backend}");
    const options = { threads: ${threads} };
    const peak = () => 1024 * Number(/VmHWM:\\s*(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]);
    async function run(path, sequences) {
      const file = await openFile(path);
      const source = ${int8} ? asInt8(file) : file;
      const { seqLen } = source.config;
      const { weights, perSequence, scratch } = backend.estimate(source, seqLen, options);
      const model = await backend.load(source, seqLen, options);
      const context = model.openContext(sequences);
      const batch = Array.from({ length: model.maxBatch }, (_, pos) => ({ token: 5, pos, sequence: 0 }));
      context.forward(batch, batch.length);
      context.sample(batch.map(() => buildSampler(source.config.vocabSize, 1, 0.9, 7n)));
      for (let to = 0; to < sequences; to++) context.copy(to === 0 ? sequences - 1 : 0, to, seqLen);
      return weights + scratch + sequences * perSequence;
    }
    await run(${JSON.stringify(fileOf([16, 40, 2, 4, 4, 300, 64]))}, 2);
    gc();
    const before = peak();
    const estimate = await run(${JSON.stringify(fileOf(shape))}, ${sequences});
    console.log(JSON.stringify({ estimate, measured: peak() - before }));
    process.exit();`;
  const { stdout, stderr } = await runScript(script, 120_000);
  expect(stderr).toBe("");
  return JSON.parse(stdout) as { estimate: number; measured: number };
}

const backends = hasAddon ? ["cpu", "wasm", "ts"] : ["wasm", "ts"];

describe.skipIf(!existsSync("/proc/self/status"))("the estimate is the peak, within 5 % or 32 MB", () => {
  for (const backend of backends) {
    it.each<[shape: string, threads: number, sequences: number, int8: boolean]>([
      ["weights", 1, 2, false],
      ["weights", 2, 2, true],
      ["positions", 1, 2, false],
      ["positions", 2, 9, true],
      ["vocabulary", 2, 16, false],
    ])(`${backend}: %s, %i threads, %i sequences, int8: %s`, async (shape, threads, sequences, int8) => {
      const { estimate, measured } = await measure(backend, SHAPES[shape], threads, sequences, int8);
      const text = `${(measured / MB).toFixed(1)} MB of ${(estimate / MB).toFixed(1)} MB`;
      expect(Math.abs(measured - estimate), text).toBeLessThan(Math.max(0.05 * estimate, 32 * MB));
    });
  }
});
