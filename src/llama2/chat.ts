/*
 * Chat: the words around what a user says, as Llama 2's chat models were trained to see them.
 */
import { EOS, encode, type Tokenizer } from "./tokenizer.js";

/** run.c 802: chat. Render user and system prompts into the Llama 2 Chat schema. An empty system prompt is none. */
export function renderPrompt(user: string, system = ""): string {
  return system === "" ? `[INST] ${user} [/INST]` : `[INST] <<SYS>>\n${system}\n<</SYS>>\n\n${user} [/INST]`;
}

/**
 * The tokens of one turn. All but the first turn begin with the EOS that ended the answer before, which the
 * model has yet to read. `user` and `system` are byte strings; the system prompt belongs to the first turn.
 */
export function turnTokens(t: Tokenizer, user: string, { first, system }: { first: boolean; system?: string }) {
  const tokens = encode(t, renderPrompt(user, first ? system : ""), true, false);
  return first ? tokens : [EOS, ...tokens];
}
