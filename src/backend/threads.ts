/*
 * How many threads a backend takes where nobody says.
 */
import { type Holdings, tensorsOf } from "../llama2/weights.ts";
import { processors } from "./processors.ts";

/**
 * As many as this process is given processors, but no more than the model has work for: threads wait for each other four
 * times a layer, and below `weightsAThread` weights each, waiting costs more than it gains.
 */
export function threadsFor(source: Holdings, weightsAThread: number): number {
  return Math.max(1, Math.min(processors(), Math.floor(weightsPerToken(source) / weightsAThread)));
}

/** How many weights every token meets: all but an embedding table that is not the classifier, of which it copies a row. */
function weightsPerToken(source: Holdings): number {
  const met = tensorsOf(source).filter(({ name }) => name !== "tokenEmbeddingTable" || source.sharedClassifier);
  return met.reduce((sum, { layers, d, n }) => sum + layers * d * n, 0);
}
