/*
 * Sources of weights that are not files as they are: seeded random models, and what a test does to their weights.
 */
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import type { TensorName, WeightSource } from "../../src/llama2/transformer.js";
import { type CheckpointOptions, checkpointFile, type Shape } from "./checkpoint.js";

export function randomModel(shape: Shape, options: CheckpointOptions = {}): Checkpoint {
  return new Checkpoint(checkpointFile(shape, options));
}

/** The same model with some tensors multiplied by a power of two. */
export function scaled(source: WeightSource, factors: Partial<Record<TensorName, number>>): WeightSource {
  return {
    config: source.config,
    sharedClassifier: source.sharedClassifier,
    groupSize: source.groupSize,
    read: (name, layer, fill) =>
      source.read(name, layer, (values, offset) =>
        fill(
          values.map((value) => value * (factors[name] ?? 1)),
          offset,
        ),
      ),
  };
}

/** The same model in which each row of the classifier, and so each logit, occurs `times` times in a row. */
export function withTies(source: WeightSource, times: number): WeightSource {
  const { dim, vocabSize } = source.config;
  const table = new Float32Array(vocabSize * dim);
  const name = source.sharedClassifier ? "tokenEmbeddingTable" : "wcls";
  source.read(name, 0, (values, offset) => table.set(values, offset));
  for (let row = 0; row < vocabSize; row++)
    table.copyWithin(row * dim, (row - (row % times)) * dim, (row - (row % times) + 1) * dim);
  return {
    config: source.config,
    sharedClassifier: source.sharedClassifier,
    groupSize: source.groupSize,
    read: (tensor, layer, fill) => (tensor === name ? fill(table, 0) : source.read(tensor, layer, fill)),
  };
}
