/*
 * Whether two sources of weights are the same model.
 */
import { expect } from "vitest";
import { open } from "../../../src/checkpoint/open.ts";
import { filesOf } from "../../../src/files/bytes.ts";
import { forward } from "../../../src/llama2/transformer.ts";
import { loadTransformer, type WeightSource } from "../../../src/llama2/weights.ts";

/** The logits of the reference after each of `tokens`, one after the other. */
export async function logitsOf(source: WeightSource, tokens: readonly number[]): Promise<Float32Array[]> {
  const transformer = await loadTransformer(source);
  return tokens.map((token, pos) => forward(transformer, token, pos).slice());
}

/** Check that `source` computes what a version-0 checkpoint of the same numbers does, bit for bit. */
export async function expectSameModel(source: WeightSource, checkpoint: Uint8Array): Promise<void> {
  const oracle = await open(filesOf("model.bin", checkpoint));
  try {
    expect(source.config).toEqual(oracle.config);
    expect(source.sharedClassifier).toBe(oracle.sharedClassifier);
    const tokens = [1, 7, 250, 3, 99, 0, 12];
    const expected = await logitsOf(oracle, tokens);
    expect(await logitsOf(source, tokens)).toEqual(expected);
    expect(expected[6].every(Number.isFinite)).toBe(true);
  } finally {
    oracle.close();
  }
}
