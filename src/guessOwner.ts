/*
 * Whose a table of guesses is: what its file says, and must say of the model that it is used for.
 */
import type { FoundTokenizer } from "./checkpoint/tokenizer/read.ts";
import type { GuessOwner } from "./run/guessFile.ts";
import { Sha256 } from "./sha256.ts";

/**
 * A tokenizer is known by its file's sha256; the one inside a GGUF, whose file is as large as the model, by that of its
 * pieces.
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
