/*
 * Chat: the words around what a user says, as Llama 2's chat models were trained to see them. Each turn is encoded with
 * a BOS of its own; after it comes the answer, which ends with EOS.
 */

/**
 * run.c 843, in chat: render user and system prompts into the Llama 2 Chat schema. An empty system prompt is none; it
 * belongs to the first turn.
 */
export function renderPrompt(user: string, system = ""): string {
  return system === "" ? `[INST] ${user} [/INST]` : `[INST] <<SYS>>\n${system}\n<</SYS>>\n\n${user} [/INST]`;
}
