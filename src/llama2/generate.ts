/*
 * The generation loop: read the prompt, then write one token after another, each read before the next is chosen.
 */
import { type Sampler, sample } from "./sampler.ts";
import { BOS, decode, encode, safePrintf, type Tokenizer } from "./tokenizer.ts";
import { forward, type Transformer } from "./transformer.ts";

/**
 * run.c 729: generate. Read `prompt` (UTF-8, as a byte string) and continue it, up to `steps` positions in all.
 *
 * `print` gets what run.c prints, as byte strings, and the token that it stands for: first the prompt, since its tokens
 * are read one by one like all others, then what the model adds. The newline at the end and the speed, which run.c
 * prints as well, are left to the caller.
 */
export function generate(
  transformer: Transformer,
  tokenizer: Tokenizer,
  sampler: Sampler,
  prompt: string,
  steps: number,
  print: (piece: string, token: number) => void,
): void {
  // encode the prompt into a sequence of tokens
  const promptTokens = encode(tokenizer, prompt, true, false);

  // start the main loop
  let next: number; // the token after this one
  let token = promptTokens[0]; // kick off with the first token of the prompt, which is BOS
  let pos = 0; // position in the sequence
  while (pos < steps) {
    // forward the transformer to get logits for the next token
    const logits = forward(transformer, token, pos);

    // advance the state machine
    if (pos < promptTokens.length - 1) {
      // while there is a prompt, its next token comes next, whatever the model would have said
      next = promptTokens[pos + 1];
    } else {
      // otherwise sample the next token from the logits
      next = sample(sampler, logits);
    }
    pos++;

    // data-dependent terminating condition: the BOS (=1) token delimits sequences
    if (next === BOS) break;

    // print the token as text: the tokenizer knows its piece
    const piece = decode(tokenizer, token, next);
    print(safePrintf(piece), next);
    token = next;
  }
}
