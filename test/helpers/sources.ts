/*
 * Sources of weights that are not files as they are: seeded random models, and what a test does to their weights.
 */
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { shapesOf, type TensorName, type WeightSource } from "../../src/llama2/weights.ts";
import { type CheckpointOptions, checkpointFile, type Shape } from "./checkpoint.ts";

export function randomModel(shape: Shape, options: CheckpointOptions = {}): Checkpoint {
  return new Checkpoint(checkpointFile(shape, options));
}

/** Another source in the place of this one: what `changed` has counts. */
function wrap(source: WeightSource, changed: Partial<WeightSource>): WeightSource {
  return {
    config: source.config,
    sharedClassifier: source.sharedClassifier,
    groupSize: source.groupSize,
    read: (name, layer, fill) => source.read(name, layer, fill),
    readQuantized: (name, layer, fill) => source.readQuantized(name, layer, fill),
    ...changed,
  };
}

/** The same model with its tensors, or some of them, multiplied by a factor. */
export function scaled(source: WeightSource, factors: number | Partial<Record<TensorName, number>>): WeightSource {
  return wrap(source, {
    read: (name, layer, fill) =>
      source.read(name, layer, (values, offset) => {
        const factor = typeof factors === "number" ? factors : (factors[name] ?? 1);
        fill(
          values.map((value) => value * factor),
          offset,
        );
      }),
  });
}

/** All numbers of a tensor of one layer. */
function wholeTensor(source: WeightSource, name: TensorName, layer: number): Float32Array {
  const { d, n } = shapesOf(source.config)[name];
  const whole = new Float32Array(d * n);
  source.read(name, layer, (values, offset) => whole.set(values, offset));
  return whole;
}

/** The same model in which each row of the classifier, and so each logit, occurs `times` times in a row. */
export function withTies(source: WeightSource, times: number): WeightSource {
  const { dim, vocabSize } = source.config;
  const classifier = source.sharedClassifier ? "tokenEmbeddingTable" : "wcls";
  const table = wholeTensor(source, classifier, 0);
  for (let row = 0; row < vocabSize; row++) {
    const first = row - (row % times);
    table.copyWithin(row * dim, first * dim, (first + 1) * dim);
  }
  return wrap(source, {
    read: (name, layer, fill) => (name === classifier ? fill(table, 0) : source.read(name, layer, fill)),
  });
}

/**
 * The same model in int8, handed over some groups at a time. The groups are a little coarser than they could be, and
 * the largest negative numbers are -128, which no exporter writes and a file may hold.
 */
export function quantized(source: WeightSource, groupSize: number): WeightSource {
  return wrap(source, {
    groupSize,
    readQuantized(name, layer, fill) {
      const values = wholeTensor(source, name, layer);
      const q = new Int8Array(values.length);
      const scales = new Float32Array(values.length / groupSize);
      for (let group = 0; group < scales.length; group++) {
        const start = group * groupSize;
        const max = Math.max(...values.subarray(start, start + groupSize).map(Math.abs));
        scales[group] = max / 128;
        for (let i = start; i < start + groupSize; i++) {
          q[i] = Math.max(-128, Math.min(127, Math.round(values[i] / scales[group])));
        }
      }
      for (let group = 0; group < scales.length; group += 7) {
        const start = group * groupSize;
        fill(q.slice(start, start + 7 * groupSize), scales.slice(group, group + 7), start);
      }
    },
  });
}
