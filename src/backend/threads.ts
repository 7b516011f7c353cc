/*
 * The default number of threads.
 */
import { type Holdings, tensorsOf } from "../llama2/weights.ts";
import { processors } from "./processors.ts";

/**
 * As many as this process has processors, but no more than the model has work for: threads wait for each other four times
 * a layer, and with fewer than `weightsAThread` weights each, waiting costs more than a thread gains.
 */
export function threadsFor(source: Holdings, weightsAThread: number): number {
  return Math.max(1, Math.min(processors(), Math.floor(weightsPerToken(source) / weightsAThread)));
}

/** How many weights each token is multiplied with: all but an embedding table of its own, of which one row is copied. */
function weightsPerToken(source: Holdings): number {
  const met = tensorsOf(source).filter(({ name }) => name !== "tokenEmbeddingTable" || source.sharedClassifier);
  return met.reduce((sum, { layers, d, n }) => sum + layers * d * n, 0);
}
