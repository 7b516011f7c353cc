/*
 * Which model a table of guesses belongs to: its file names the tokenizer and the vocabulary size.
 */
import type { FoundTokenizer } from "./checkpoint/tokenizer/read.ts";
import type { GuessOwner } from "./run/guessFile.ts";
import { Sha256 } from "./sha256.ts";

/**
 * A tokenizer is identified by its file's sha256. One inside a GGUF, whose file is as large as the model, is identified
 * by the sha256 of its pieces.
 * @param hashOf the sha256 of the tokenizer's file
 */
export async function guessOwner(
  vocabSize: number,
  found: FoundTokenizer | undefined,
  hashOf: () => Promise<string>,
): Promise<GuessOwner> {
  if (!found) return { vocabSize };
  return { vocabSize, tokenizer: found.kind === "gguf" ? piecesHash(found) : await hashOf() };
}

function piecesHash({ tokenizer, pieces }: FoundTokenizer): string {
  const text = tokenizer.vocab.slice(0, pieces).join("\0");
  return new Sha256().update(Uint8Array.from(text, (byte) => byte.charCodeAt(0))).hex();
}
