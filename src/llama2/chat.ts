/*
 * Chat: the words around what a user says, as Llama 2's chat models were trained to see them.
 */
import { encode, type Tokenizer } from "./tokenizer.js";

/** run.c 843, in chat: render user and system prompts into the Llama 2 Chat schema. An empty system prompt is none. */
export function renderPrompt(user: string, system = ""): string {
  return system === "" ? `[INST] ${user} [/INST]` : `[INST] <<SYS>>\n${system}\n<</SYS>>\n\n${user} [/INST]`;
}

/**
 * The tokens of one turn, BOS first. After an answer, which ends with EOS, comes the next turn, with its own BOS.
 * `user` and `system` are byte strings; the system prompt belongs to the first turn.
 */
export function encodeTurn(t: Tokenizer, user: string, system = ""): number[] {
  return encode(t, renderPrompt(user, system), true, false);
}
