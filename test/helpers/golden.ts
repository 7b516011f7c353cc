/*
 * Goldens: what llama2.c's run.c, built with gcc -O3, computed.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Transformer } from "../../src/llama2/transformer.ts";
import { forward } from "../../src/llama2/transformer.ts";

/** The checkout. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/**
 * Material that is not part of the project: the stories260K model, Llama 2's tokenizer, held-out text. Tests that
 * need it are skipped where it is absent, and say so in their names; everything else is proved without it.
 */
const SHARED = process.env.LLAMA2_SHARED ?? join(ROOT, "..", "shared");
export const hasShared = existsSync(join(SHARED, "models", "stories260K.bin"));
export const sharedFile = (path: string): string => join(SHARED, path);
export const needsShared = hasShared ? "" : " (skipped: needs ../shared, which is not here)";

export function golden<T>(name: string): T {
  return JSON.parse(readFileSync(join(ROOT, "test", "golden", name), "utf8"));
}

/** The same for a file of ../shared/golden/. */
export function sharedGolden<T>(name: string): T {
  return JSON.parse(readFileSync(sharedFile(join("golden", name)), "utf8"));
}

export interface GenerateCase {
  prompt: string;
  temperature: number;
  topp: number;
  seed: string;
  steps: number;
  prompt_tokens: number[];
  tokens: number[];
  rng_state: string;
  forwards: number;
  text: string;
  logits_sha256: string;
}

export interface ForcedLogits {
  vocab_size: number;
  positions: number;
  sha256: string;
}

/** The tokens that are fed for `ForcedLogits`. */
export function forcedTokens({ vocab_size, positions }: ForcedLogits): number[] {
  return Array.from({ length: positions }, (_, p) => (p === 0 ? 1 : (p * 7919 + 1) % vocab_size));
}

export const sha256 = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex");

/** The sum over the logits after each of `tokens`. */
export function logitsSha256(transformer: Transformer, tokens: number[]): string {
  const hash = createHash("sha256");
  for (const [pos, token] of tokens.entries()) {
    const logits = forward(transformer, token, pos);
    hash.update(new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength));
  }
  return hash.digest("hex");
}
