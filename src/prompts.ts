/*
 * Files of prompts and of conversations.
 */
import type { SavedChat } from "./chat.ts";
import { isJsonObject, parseJsonObject } from "./checkpoint/json.ts";
import { Llama2Error } from "./errors.ts";

/**
 * The prompts of a file: a JSON array of texts; or lines, each with a JSON text or an object with a `prompt`.
 * @param name of the file, for messages
 * @throws Llama2Error E_FORMAT
 */
export function readPrompts(bytes: Uint8Array, name: string): string[] {
  const text = new TextDecoder().decode(bytes);
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const whole = parsed(text);
  const all = Array.isArray(whole) ? whole : lines.map((line) => parsed(line));
  if (all.length === 0) throw new Llama2Error("E_FORMAT", `${name} has no prompts in it`);
  return all.map((value, i) => {
    const prompt = isJsonObject(value) ? value.prompt : value;
    if (typeof prompt === "string") return prompt;
    const which = Array.isArray(whole) ? `prompt ${i + 1}` : `line ${i + 1}`;
    throw new Llama2Error("E_FORMAT", `${which} of ${name} is no prompt: expected a JSON text, or { "prompt": "..." }`);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * A conversation as `/save` of llama2 chat writes it. Its messages are checked by `model.chat`.
 * @throws Llama2Error E_FORMAT for anything else
 */
export function readChat(bytes: Uint8Array, name: string): SavedChat {
  const { chat, messages } = parseJsonObject(bytes, name);
  if (chat === 1 && Array.isArray(messages)) return { chat, messages };
  throw new Llama2Error(
    "E_FORMAT",
    `${name} is no chat: expected { "chat": 1, "messages": [...] }, as /save writes it`,
  );
}
