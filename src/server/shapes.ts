/*
 * Answers in the form of OpenAI's API, for completions and for chats.
 */
import type { Token } from "../generateOptions.ts";
import type { TextTokenizer } from "../textTokenizer.ts";

/** What one slice added to one choice. */
export interface Delta {
  index: number;
  text: string;
  tokens: readonly Token[];
  finish: "stop" | "length" | null;
}

/** The form of one kind of answer. */
export interface Shape {
  prefix: string; // of ids
  object: string;
  chunkObject: string;
  /** A complete choice. */
  choice(delta: Delta): object;
  /** A part of a choice, in a stream. @param isFirst whether it is the choice's first part */
  chunk(delta: Delta, isFirst: boolean): object;
}

/** @param logprobs whether they were asked for */
export function completionShape(tokenizer: TextTokenizer, logprobs: boolean): Shape {
  const offsets = new Map<number, number>(); // for each choice: where the next token begins in its text, in characters
  const logprobsOf = ({ index, tokens }: Delta) => {
    if (!logprobs) return null;
    const start = offsets.get(index) ?? 0;
    const texts = tokens.map(({ id }) => tokenText(tokenizer, id));
    let offset = start;
    const textOffset = texts.map((text) => {
      const mine = offset;
      offset += text.length;
      return mine;
    });
    offsets.set(index, offset);
    return {
      tokens: texts,
      token_logprobs: tokens.map(({ logprob }) => logprob),
      top_logprobs: tokens.map(({ top = [] }) => {
        return Object.fromEntries(top.map(({ id, logprob }) => [tokenText(tokenizer, id), logprob]));
      }),
      text_offset: textOffset,
    };
  };
  const choice = (delta: Delta) => {
    return { text: delta.text, index: delta.index, logprobs: logprobsOf(delta), finish_reason: delta.finish };
  };
  return { prefix: "cmpl-", object: "text_completion", chunkObject: "text_completion", choice, chunk: choice };
}

/** @param logprobs whether they were asked for */
export function chatShape(tokenizer: TextTokenizer, logprobs: boolean): Shape {
  const logprobsOf = ({ tokens }: Delta) => {
    if (!logprobs) return null;
    const one = (id: number, logprob: number) => {
      const token = tokenText(tokenizer, id);
      return { token, logprob, bytes: [...new TextEncoder().encode(token)] };
    };
    const content = tokens.map(({ id, logprob, top = [] }) => {
      return { ...one(id, logprob), top_logprobs: top.map((other) => one(other.id, other.logprob)) };
    });
    return { content, refusal: null };
  };
  return {
    prefix: "chatcmpl-",
    object: "chat.completion",
    chunkObject: "chat.completion.chunk",
    choice: (delta) => ({
      index: delta.index,
      message: { role: "assistant", content: delta.text, refusal: null },
      logprobs: logprobsOf(delta),
      finish_reason: delta.finish,
    }),
    chunk: (delta, isFirst) => ({
      index: delta.index,
      delta: { ...(isFirst && { role: "assistant" }), ...(delta.text !== "" && { content: delta.text }) },
      logprobs: logprobsOf(delta),
      finish_reason: delta.finish,
    }),
  };
}

/** The text of a single token; its piece, such as "<0xF0>", if it is only a part of a character. */
function tokenText(tokenizer: TextTokenizer, id: number): string {
  const text = tokenizer.decode([id]);
  return text.includes("\ufffd") ? tokenizer.piece(id) : text;
}
