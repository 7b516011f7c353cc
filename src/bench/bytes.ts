/*
 * How many bytes a backend reads for a token.
 */
import { kvDimOf } from "../llama2/transformer.ts";
import { groupSizeOf, type Holdings, isVector, tensorsOf } from "../llama2/weights.ts";

export interface BytesRead {
  /** Weights that each pass reads: all matrices, except an embedding table of its own, of which one row is read. */
  weights: number;
  /** Keys and values that each token reads for each position before it. */
  perPosition: number;
}

/** @param halves whether weights and KV cache are fp16 */
export function bytesRead(source: Holdings, halves: { weights?: boolean; kv?: boolean } = {}): BytesRead {
  let weights = 0;
  for (const { name, layers, d, n } of tensorsOf(source)) {
    if (name === "tokenEmbeddingTable" && !source.sharedClassifier) continue;
    const groupSize = isVector(name) ? 0 : groupSizeOf(source.formatOf(name));
    const each = groupSize > 0 ? 1 + 4 / groupSize : halves.weights && !isVector(name) ? 2 : 4;
    weights += layers * d * n * each;
  }
  const { nLayers } = source.config;
  return { weights, perPosition: 2 * (halves.kv ? 2 : 4) * nLayers * kvDimOf(source.config) };
}
