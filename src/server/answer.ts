/*
 * Generate the choices of a request and send them: all at once, or as a stream.
 */
import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import { type GenerateOptions, nextSeed, type Token } from "../generateOptions.ts";
import type { Generation } from "../generation.ts";
import { revive } from "../run/failure.ts";
import type { Asked } from "./asked.ts";
import { asHttpError } from "./errors.ts";
import type { Served } from "./models.ts";
import type { Delta, Shape } from "./shapes.ts";

/** A prompt as tokens, and what is sent before the new text if it is to be echoed. */
export interface AskedPrompt {
  tokens: number[];
  echo?: { text: string; tokens: Token[] };
}

interface Choice {
  index: number;
  generation: Generation;
  text: string;
  tokens: Token[];
  finish: "stop" | "length" | null;
}

/** The choices of one request: call `send` or `stream`, once. */
export class Answer {
  private readonly served: Served;
  private readonly asked: Asked;
  private readonly shape: Shape;
  private readonly choices: Choice[];
  private readonly prompts: readonly AskedPrompt[];
  private readonly id: string;
  private readonly created = Math.floor(Date.now() / 1000);
  /** Whether to leave out the space before an answer. */
  private readonly trims: boolean;

  constructor(served: Served, asked: Asked, shape: Shape, prompts: readonly AskedPrompt[], signal: AbortSignal) {
    this.served = served;
    this.asked = asked;
    this.shape = shape;
    this.prompts = prompts;
    this.id = `${shape.prefix}${randomUUID().replaceAll("-", "")}`;
    this.trims = shape.object === "chat.completion";
    const { n, options, seed } = asked;
    this.choices = prompts.flatMap(({ tokens }, j) =>
      Array.from({ length: n }, (_, i) => {
        const one: GenerateOptions = { ...options, seed: nextSeed(seed, i), signal };
        const generation = served.model.generate(tokens, one);
        return { index: j * n + i, generation, text: "", tokens: [], finish: null };
      }),
    );
  }

  /** Send everything as one JSON object. */
  async send(response: ServerResponse): Promise<void> {
    for await (const { choice, delta } of this.deltas()) {
      choice.text += delta.text;
      choice.tokens.push(...delta.tokens);
    }
    const choices = this.choices.map(({ index, text, tokens, finish }) => {
      return this.shape.choice({ index, text, tokens, finish });
    });
    const body = { ...this.head(this.shape.object), choices, usage: this.usage(), ...(await this.receipts()) };
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify(body));
  }

  /** Stream it as server-sent events, each with what one slice added to one choice. */
  async stream(response: ServerResponse): Promise<void> {
    const head = this.head(this.shape.chunkObject);
    const { includeUsage, receipt } = this.asked;
    const usage = includeUsage ? { usage: null } : {};
    const write = async (object: object | string) => {
      const data = typeof object === "string" ? object : JSON.stringify(object);
      if (!response.destroyed && !response.write(`data: ${data}\n\n`)) await drained(response);
    };
    response.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache" });
    response.flushHeaders();
    const begun = new Set<number>();
    try {
      for await (const { delta } of this.deltas()) {
        const isFirst = !begun.has(delta.index);
        begun.add(delta.index);
        await write({ ...head, choices: [this.shape.chunk(delta, isFirst)], ...usage });
      }
      if (includeUsage || receipt) {
        await write({ ...head, choices: [], ...(includeUsage && { usage: this.usage() }), ...(await this.receipts()) });
      }
      await write("[DONE]");
    } catch (error) {
      if (response.destroyed) return; // the client has left
      await write(asHttpError(error).body);
    }
    response.end();
  }

  /** What each slice adds to each choice, interleaved as the slices come. An echo comes first. */
  private async *deltas(): AsyncGenerator<{ choice: Choice; delta: Delta }, void> {
    for (const choice of this.choices) {
      const { echo } = this.prompts[Math.floor(choice.index / this.asked.n)];
      if (echo) yield { choice, delta: { index: choice.index, ...echo, finish: null } };
    }
    const parts = this.choices.map((choice) => this.partsOf(choice));
    const next = new Map(parts.map((one, i) => [i, advance(one, i)]));
    try {
      while (next.size > 0) {
        const { i, result } = await Promise.race(next.values());
        if (result.done) {
          next.delete(i);
          continue;
        }
        next.set(i, advance(parts[i], i));
        yield { choice: this.choices[i], delta: result.value };
      }
    } finally {
      for (const one of parts) one.return(undefined).catch(() => {});
      for (const pending of next.values()) pending.catch(() => {});
    }
  }

  private async *partsOf(choice: Choice): AsyncGenerator<Delta, void> {
    const { index, generation } = choice;
    let sent = 0; // tokens sent so far
    let begun = !this.trims;
    for await (const part of generation.slices()) {
      if (part.error) throw revive(part.error);
      const tokens = generation.logprobs?.slice(sent) ?? [];
      sent += tokens.length;
      const text = begun ? part.text : part.text.replace(/^ /, "");
      begun ||= part.text !== "";
      const finish = part.ended === "stop" || part.ended === "length" ? part.ended : null;
      choice.finish = finish;
      if (text !== "" || tokens.length > 0 || finish) yield { index, text, tokens, finish };
    }
  }

  private head(object: string) {
    const { id, created, served } = this;
    return { id, object, created, model: served.id, system_fingerprint: served.fingerprint };
  }

  private usage() {
    const completion = this.choices.reduce((sum, { generation }) => sum + generation.usage.completionTokens, 0);
    const prompt = this.prompts.reduce((sum, { tokens }) => sum + tokens.length, 0);
    return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
  }

  /** A receipt for each choice, if asked for; a single one is not in an array. */
  private async receipts(): Promise<object> {
    if (!this.asked.receipt) return {};
    const all = [];
    for (const { generation } of this.choices) all.push(await this.served.model.receipt(generation));
    return { receipt: all.length === 1 ? all[0] : all };
  }
}

/** A client that reads nothing of a stream for this long counts as gone. */
const STALLED_MS = 60_000;

/**
 * Resolves once the client has taken what was written, or has left.
 * @internal
 */
export function drained(response: ServerResponse, stalledMs = STALLED_MS): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => response.destroy(), stalledMs);
    const done = () => {
      clearTimeout(timer);
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
    if (response.destroyed) done();
  });
}

async function advance(parts: AsyncGenerator<Delta, void>, i: number) {
  return { i, result: await parts.next() };
}
