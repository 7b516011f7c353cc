/*
 * /v1/completions and /v1/chat/completions: from the body of a request to its answer.
 */

import type { Message } from "../chatTemplate.ts";
import { show } from "../check.ts";
import type { Token } from "../generateOptions.ts";
import { BOS } from "../llama2/tokenizer.ts";
import type { Model } from "../model.ts";
import { Answer, type AskedPrompt } from "./answer.ts";
import { type Asked, IGNORED, MAX_CHOICES, readAsked } from "./asked.ts";
import { Fields, type Json } from "./body.ts";
import { badValue } from "./errors.ts";
import type { Models, Served } from "./models.ts";
import { chatShape, completionShape, type Shape } from "./shapes.ts";

/** A valid request that has not started yet. */
export interface Job {
  asked: Asked;
  /** How many sequences it needs. */
  sequences: number;
  begin(signal: AbortSignal): Promise<Answer>;
}

type Ids = number[];

/** The job of a /v1/completions body. @throws HttpError 400 for a bad field, 404 for an unknown model */
export function completionJob(models: Models, body: Json): Job {
  const fields = new Fields(body);
  const logprobs = fields.whole("logprobs", 0, 20);
  const echo = fields.boolean("echo");
  const asked = readAsked(fields, fields.whole("max_tokens", 0, 2 ** 31 - 1), logprobs);
  fields.without("suffix", "");
  fields.without("best_of", 1, asked.n);
  const prompts = readPrompts(fields.get("prompt"));
  fields.end(IGNORED);
  const sequences = checkChoices(prompts.length, asked.n);
  const served = models.named(asked.model);
  const { model } = served;
  const tokens = prompts.map((prompt) => (typeof prompt === "string" ? model.encodePrompt(prompt) : prompt));
  const begin = async (signal: AbortSignal) => {
    const all: AskedPrompt[] = [];
    for (const ids of tokens) {
      all.push(echo ? { tokens: ids, echo: await echoOf(model, ids, logprobs, signal) } : { tokens: ids });
    }
    return answer(served, asked, completionShape(model.tokenizer, logprobs !== undefined), all, signal);
  };
  return { asked, sequences, begin };
}

/** The job of a /v1/chat/completions body. @throws HttpError 400 for a bad field, 404 for an unknown model */
export async function chatJob(models: Models, body: Json): Promise<Job> {
  const fields = new Fields(body);
  const wantsLogprobs = fields.boolean("logprobs");
  const top = fields.whole("top_logprobs", 0, 20);
  if (top !== undefined && !wantsLogprobs) badValue("top_logprobs", "top_logprobs goes with logprobs: true");
  const limits = ["max_completion_tokens", "max_tokens"].map((name) => fields.whole(name, 0, 2 ** 31 - 1));
  const asked = readAsked(fields, limits[0] ?? limits[1], wantsLogprobs ? (top ?? 0) : undefined);
  for (const name of ["tools", "functions", "modalities", "audio", "prediction", "web_search_options"]) {
    fields.without(name);
  }
  fields.without("tool_choice", "none", "auto");
  fields.without("function_call", "none", "auto");
  const format = fields.object("response_format");
  if (format.type !== undefined && format.type !== "text") fields.without("response_format");
  const messages = readMessages(fields.get("messages"));
  fields.end([...IGNORED, "parallel_tool_calls", "reasoning_effort", "verbosity"]);
  const sequences = checkChoices(1, asked.n);
  const served = models.named(asked.model);
  const { model } = served;
  const chat = await model.chat({ messages: messages.slice(0, -1) });
  const tokens = [...chat.say(messages[messages.length - 1].content).promptTokens];
  const shape = chatShape(model.tokenizer, wantsLogprobs);
  return { asked, sequences, begin: async (signal) => answer(served, asked, shape, [{ tokens }], signal) };
}

function answer(served: Served, asked: Asked, shape: Shape, prompts: AskedPrompt[], signal: AbortSignal): Answer {
  return new Answer(served, asked, shape, prompts, signal);
}

function checkChoices(prompts: number, n: number): number {
  if (prompts * n <= MAX_CHOICES) return prompts * n;
  badValue("n", `there are ${prompts} prompts with ${n} choices each, expected at most ${MAX_CHOICES} in all`);
}

/** A text, tokens, or an array of either. */
function readPrompts(value: unknown): (string | Ids)[] {
  if (value === undefined) badValue("prompt", "there is no prompt");
  const isIds = (each: unknown): each is Ids => Array.isArray(each) && each.length > 0 && each.every(Number.isInteger);
  if (typeof value === "string" || isIds(value)) return [value];
  const isPrompt = (each: unknown): each is string | Ids => typeof each === "string" || isIds(each);
  if (Array.isArray(value) && value.length > 0 && value.every(isPrompt)) return value;
  badValue("prompt", `the prompt is ${show(value)}, expected a text, tokens, or an array of either`);
}

/** The prompt as it is echoed before the new text. The first token has no log-probability, so it is not listed. */
async function echoOf(model: Model, tokens: Ids, logprobs: number | undefined, signal: AbortSignal) {
  const text = model.tokenizer.decode(tokens);
  const scored: Token[] = logprobs === undefined ? [] : await model.score(tokens, { logprobs, signal });
  return { text, tokens: scored.filter(({ id }) => id !== BOS) };
}

/** The messages of a chat, the last of them the user's. */
function readMessages(value: unknown): Message[] {
  if (!Array.isArray(value) || value.length === 0) {
    badValue("messages", `messages is ${show(value)}, expected an array with at least one`);
  }
  const messages = value.map((message: unknown, i): Message => {
    const { role, content } = (message ?? {}) as Json;
    const text = contentOf(content);
    const known = role === "developer" ? "system" : role;
    if (known !== "system" && known !== "user" && known !== "assistant") {
      badValue(`messages[${i}].role`, `the role is ${show(role)}, expected system, user or assistant`);
    }
    if (text === undefined) badValue(`messages[${i}].content`, `the content is ${show(content)}, expected text`);
    return { role: known, content: text };
  });
  if (messages[messages.length - 1].role !== "user") badValue("messages", "the last message is not the user's");
  return messages;
}

function contentOf(content: unknown): string | undefined {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return undefined;
  const texts = content.map((part) => (part?.type === "text" && typeof part.text === "string" ? part.text : undefined));
  return texts.includes(undefined) ? undefined : texts.join("");
}
