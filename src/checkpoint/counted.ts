/*
 * Counts weights as they are read.
 */
import type { WeightSource } from "../llama2/weights.ts";

/**
 * The same weights.
 * @param count is called after each piece is read, with how many numbers it has
 */
export function counted(source: WeightSource, count: (numbers: number) => void | Promise<void>): WeightSource {
  return {
    config: source.config,
    sharedClassifier: source.sharedClassifier,
    formatOf: (name) => source.formatOf(name),
    async *pieces(name, layer, multipleOf) {
      for await (const piece of source.pieces(name, layer, multipleOf)) {
        yield piece;
        await count("values" in piece ? piece.values.length : piece.q.length);
      }
    },
  };
}
