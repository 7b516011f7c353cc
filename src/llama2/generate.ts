/*
 * The generation loop: read the prompt, then write one token after another, each read before the next is chosen.
 */
import { BOS } from "./tokenizer.js";

/** What the loop asks of a model, however it is computed. */
export interface Machine {
  /** The most tokens that one call of `forward` takes. 1: a prompt is read token by token, as in run.c. */
  readonly maxBatch: number;
  /** Read `tokens`, the first of them at position `pos`. With `classify`, logits of the last are wanted. */
  forward(tokens: readonly number[], pos: number, classify: boolean): void;
  /** Choose the token after the last one read. */
  sample(): number;
}

/**
 * run.c 729: generate. Yields what run.c prints: the prompt's tokens after the first, then those it samples, one
 * for each position up to `steps`. A BOS, which delimits sequences, ends it and is not yielded.
 *
 * `promptTokens` has at least one token. In a conversation it is what is new, at positions from `pos` on, and
 * `stop` is the token that ends an answer.
 */
export function* generate(
  machine: Machine,
  promptTokens: readonly number[],
  steps: number,
  { pos = 0, stop = BOS } = {},
): Generator<number, void> {
  const promptEnd = pos + promptTokens.length;
  let unread = promptTokens; // what the model has yet to read: the rest of the prompt, then the sampled token
  while (pos < steps) {
    // forward the transformer to get logits for the next token
    const tokens = unread.slice(0, Math.min(machine.maxBatch, steps - pos));
    pos += tokens.length;
    machine.forward(tokens, pos - tokens.length, pos >= promptEnd);

    // while there is a prompt, its tokens come next; then sample them from the logits
    const forced = unread.slice(1, tokens.length + 1);
    unread = unread.slice(tokens.length);
    if (pos >= promptEnd) {
      unread = [machine.sample()];
      forced.push(unread[0]);
    }
    for (const next of forced) {
      // data-dependent terminating condition: the BOS (=1) token delimits sequences
      if (next === stop) return;
      yield next;
    }
  }
}
