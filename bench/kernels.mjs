/*
 * npm run bench:kernels: measures the backends' inner loops with tinybench: a layer, a pass of several tokens, and sampling.
 * To check changes quickly; published figures come from whole models (models.mjs).
 */
import { Bench } from "tinybench";
import { openCpu } from "../dist/backend/cpu/cpu.js";
import { ts } from "../dist/backend/ts/ts.js";
import { wasm } from "../dist/backend/wasm/wasm.js";
import { buildSampler } from "../dist/llama2/sampler.js";
import { isVector, shapesOf } from "../dist/llama2/weights.js";
import { checkedArguments } from "../scripts/usage.mjs";

checkedArguments("npm run bench:kernels", (args) => args.length === 0);

const GROUP_SIZE = 32;
const LAYER = { dim: 768, hiddenDim: 2048, nLayers: 1, nHeads: 12, nKvHeads: 12, vocabSize: 64, seqLen: 64 };
const VOCABULARY = { dim: 16, hiddenDim: 16, nLayers: 1, nHeads: 1, nKvHeads: 1, vocabSize: 32000, seqLen: 64 };
const BATCH = 16;

/** Weights by a fixed formula, instead of a checkpoint. */
function source(shape, groupSize) {
  const config = { ...shape, normEps: 1e-5, ropeTheta: 10000 };
  const sizeOf = (name) => shapesOf(config)[name].d * shapesOf(config)[name].n;
  const isInt8 = (name) => groupSize > 0 && !isVector(name);
  const fill = (array, scale) => array.map((_, i) => (((i * 7919) % 255) - 127) * scale);
  return {
    config,
    sharedClassifier: true,
    formatOf: (name) => (isInt8(name) ? { groupSize } : "float32"),
    async *pieces(name) {
      if (isInt8(name)) {
        const scales = new Float32Array(sizeOf(name) / groupSize).fill(2 ** -11);
        yield { offset: 0, q: fill(new Int8Array(sizeOf(name)), 1), scales };
      } else {
        yield { offset: 0, values: fill(new Float32Array(sizeOf(name)), 2 ** -11) };
      }
    },
  };
}

/** Read `count` tokens in one pass. */
function addPass(bench, name, context, count) {
  const entries = Array.from({ length: count }, (_, i) => ({ token: 3 + i, pos: i, sequence: 0 }));
  bench.add(name, () => {
    context.forward(entries, 0);
  });
}

/** A minimal pass with as many logits as large models have, and then sampling from them. */
function addSample(bench, name, context) {
  const sampler = buildSampler(VOCABULARY.vocabSize, 1, 0.9, 1n);
  bench.add(name, () => {
    context.forward([{ token: 3, pos: 0, sequence: 0 }], 1);
    context.sample([sampler]);
  });
}

function backends() {
  try {
    return [ts, wasm, openCpu()];
  } catch (error) {
    console.error(error.message);
    return [ts, wasm];
  }
}

const bench = new Bench({ time: 500, warmupTime: 200 });
const models = [];
const open = async (backend, shape, groupSize) => {
  const model = await backend.load(source(shape, groupSize), shape.seqLen, { threads: 1 });
  models.push(model);
  return { context: model.openContext(1), maxBatch: model.maxBatch };
};
for (const backend of backends()) {
  for (const [type, groupSize] of Object.entries({ float32: 0, int8: GROUP_SIZE })) {
    const { context, maxBatch } = await open(backend, LAYER, groupSize);
    addPass(bench, `${backend.name}, ${type}: a layer of 768 x 2048`, context, 1);
    if (maxBatch >= BATCH) addPass(bench, `${backend.name}, ${type}: the same, ${BATCH} tokens`, context, BATCH);
  }
  addSample(bench, `${backend.name}: top-p of 32,000 logits`, (await open(backend, VOCABULARY, 0)).context);
}
await bench.run();
console.table(bench.table());
for (const model of models) model.dispose();
