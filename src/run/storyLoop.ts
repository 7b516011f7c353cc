/*
 * The generation loop of llama2/generate.ts as a coroutine: it yields what it wants to have read, so that many stories
 * can share passes over the weights.
 */
import { BOS } from "../llama2/tokenizer.ts";

/** What the loop wants to have read next. */
export interface Pass {
  tokens: readonly number[]; // at positions pos, pos + 1, ...
  pos: number;
  sample: boolean; // whether it wants the token after the last one
}

export interface GenerateOptions {
  /** Where the sequence is, if something was read before. */
  pos?: number;
  /** The token that ends it. */
  stop?: number;
  /** The most tokens a pass may have. 1: a prompt is read token by token, as in run.c. */
  maxBatch?: number;
}

/**
 * run.c 729: generate. Tells `print` what run.c prints: the prompt's tokens after the first, then those it samples,
 * one for each position up to `steps`. A BOS, which delimits sequences, ends it and is not printed.
 *
 * Where run.c calls forward and sample, this yields what it wants to have read, and is resumed with the sampled
 * token. Whoever drives it may let other stories read in the same pass; the loop need not know.
 *
 * `promptTokens` has at least one token.
 */
export function* generate(
  promptTokens: readonly number[],
  steps: number,
  print: (token: number) => void,
  { pos = 0, stop = BOS, maxBatch = 1 }: GenerateOptions = {},
): Generator<Pass, void, number> {
  const promptEnd = pos + promptTokens.length;
  let unread = promptTokens; // what the model has yet to read: the rest of the prompt, then the sampled token
  while (pos < steps) {
    // forward the transformer to get logits for the next token
    const tokens = unread.slice(0, Math.min(maxBatch, steps - pos));
    pos += tokens.length;
    const sampled = yield { tokens, pos: pos - tokens.length, sample: pos >= promptEnd };

    // while there is a prompt, its tokens come next; then those sampled from the logits
    const next = unread.slice(1, tokens.length + 1);
    unread = unread.slice(tokens.length);
    if (pos >= promptEnd) {
      next.push(sampled);
      unread = [sampled];
    }
    for (const token of next) {
      // data-dependent terminating condition: the BOS (=1) token delimits sequences
      if (token === stop) return;
      print(token);
    }
  }
}
