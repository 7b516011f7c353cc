/*
 * Chat: the same loop for two speakers. Llama 2's chat models were trained on conversations in which each of the user's
 * turns begins with BOS and stands between [INST] and [/INST], and each answer ends with EOS. A model that was not
 * trained that way does not know when to stop.
 */
import { type Sampler, sample } from "./sampler.ts";
import { decode, EOS, encode, safePrintf, type Tokenizer } from "./tokenizer.ts";
import { forward, type Transformer } from "./transformer.ts";

/** Asks for a line of text with the prompt `guide`. At the end of input it returns `previous`, as C's buffer does. */
export type ReadStdin = (guide: string, previous: string) => string;

/**
 * run.c 802: chat. A conversation of up to `steps` positions in all. Texts are UTF-8, as byte strings. `print` gets what
 * run.c prints, except the newline at the very end; `readStdin` asks for the texts that the command line did not give.
 *
 * This is run.c's loop with its quirks: a token is sampled at every position, even where the user's text gives the next
 * one, so each position takes one random number; the token after an EOS is printed; and a turn that reaches `steps` is
 * cut.
 */
export function chat(
  transformer: Transformer,
  tokenizer: Tokenizer,
  sampler: Sampler,
  cliUserPrompt: string | undefined,
  cliSystemPrompt: string | undefined,
  steps: number,
  print: (text: string) => void,
  readStdin: ReadStdin,
): void {
  let systemPrompt = "";
  let userPrompt = "";
  let promptTokens: number[] = [];
  let userIdx = 0; // how much of them has been read

  // start the main loop
  let userTurn = true; // user starts
  let next = 0; // the token after this one
  let token: number; // the token to feed into the transformer
  let pos = 0; // position in the sequence
  while (pos < steps) {
    // when it is the user's turn to contribute tokens to the dialog...
    if (userTurn) {
      // at position 0, the user can also contribute a system prompt
      if (pos === 0) {
        systemPrompt = cliSystemPrompt ?? readStdin("Enter system prompt (optional): ", systemPrompt);
      }
      // get the user prompt; the first may come from the command line
      userPrompt = (pos === 0 ? cliUserPrompt : undefined) ?? readStdin("User: ", userPrompt);
      // render user/system prompts into the Llama 2 Chat schema, and encode them
      const renderedPrompt = renderPrompt(userPrompt, pos === 0 ? systemPrompt : "");
      promptTokens = encode(tokenizer, renderedPrompt, true, false);
      userIdx = 0; // reset the user index
      userTurn = false;
      print("Assistant: ");
    }

    // determine the token to pass into the transformer next
    if (userIdx < promptTokens.length) {
      // while there is a prompt, its next token comes next
      token = promptTokens[userIdx++];
    } else {
      // otherwise the one that was sampled last
      token = next;
    }
    // EOS (=2) token ends the Assistant turn
    if (token === EOS) userTurn = true;

    // forward the transformer to get logits for the next token
    const logits = forward(transformer, token, pos);
    next = sample(sampler, logits);
    pos++;

    if (userIdx >= promptTokens.length && next !== EOS) {
      // the Assistant is responding, so print its output
      print(safePrintf(decode(tokenizer, token, next)));
    }
    if (next === EOS) print("\n");
  }
}

/**
 * run.c 843, in chat: render user and system prompts into the Llama 2 Chat schema. The system prompt belongs to the first
 * turn; an empty one is left out.
 */
export function renderPrompt(user: string, system = ""): string {
  return system === "" ? `[INST] ${user} [/INST]` : `[INST] <<SYS>>\n${system}\n<</SYS>>\n\n${user} [/INST]`;
}
