/*
 * What a user of the library holds: a model, with text going in and text coming out.
 */
import { join } from "node:path";
import { type BackendName, type CudaOptions, KV_PRECISIONS, meansCuda, PRECISIONS } from "./backend/backend.ts";
import { type FoundTokenizer, findTokenizer, namedTokenizer, PACKAGE_MODELS } from "./checkpoint/tokenizer/find.ts";
import { encode } from "./encode.ts";
import { Llama2Error } from "./errors.ts";
import { BOS, type Tokenizer } from "./llama2/tokenizer.ts";
import type { Config } from "./llama2/transformer.ts";
import { type LoadedInfo, WorkerClient } from "./run/client.ts";
import type { Slice, Timings } from "./run/protocol.ts";
import { TextStream, toByteString } from "./text.ts";

/** The model that comes with the package. */
export const BUNDLED_MODEL: string = join(PACKAGE_MODELS, "stories2M.bin");

export interface LoadOptions extends CudaOptions {
  /** Which machine computes. A named one never falls back. Default "auto": the best that works here. */
  backend?: BackendName | "auto";
  /** The tokenizer's file. Default: the one that fits, beside the model or in the package. null: none is needed. */
  tokenizer?: string | null;
  /** Default: the backend's choice. */
  threads?: number;
  /** Positions a sequence can have at most, to save memory. Default: what the model was trained for. */
  context?: number;
  /** Stops loading. */
  signal?: AbortSignal;
}

export interface GenerateOptions {
  /** 0: always the likeliest token; 1: the model's own probabilities; above: bolder. Default 1. */
  temperature?: number;
  /** Draw from the likeliest tokens only, which together have this probability. 0 and 1 switch it off. Default 0.9. */
  topP?: number;
  /** The same seed tells the same story. Whole, -2^63 to 2^64-1; 0 or none: the clock. */
  seed?: number | bigint;
  /** The most new tokens. Default: until the context is full. */
  maxTokens?: number;
  /** Stops at the next token; the loop then throws the signal's reason. */
  signal?: AbortSignal;
  /** Called for each new token, before the text it completes is yielded. */
  onToken?: (token: Token) => void;
}

/** One generated token. */
export interface Token {
  id: number;
  /** Where in the sequence it stands; the first prompt token is at 0. */
  position: number;
  /** Natural logarithm of its probability, from the raw logits: before temperature and top-p. */
  logprob: number;
}

/**
 * Load a model, in a thread of its own. Without a path: the small one that comes with the package.
 * @throws Llama2Error E_USAGE, E_FILE, E_FORMAT, E_LIMIT, E_DEVICE_UNAVAILABLE, E_DEVICE_OOM, E_DEVICE_LOST; the
 *   signal's reason
 */
export async function loadModel(path: string = BUNDLED_MODEL, options: LoadOptions = {}): Promise<Model> {
  const { backend = "auto", tokenizer: named, threads = 0, context = 0, signal } = options;
  const { precision, kvPrecision, device } = options;
  checkWhole("threads", threads, 0, 1024);
  checkWhole("context", context, 0, 2 ** 31 - 1);
  checkCuda(backend, { precision, kvPrecision, device });
  const start = performance.now();
  let found: FoundTokenizer | undefined;
  // while the worker reads the weights, read the tokenizer
  const onOpened = async (vocabSize: number) => {
    if (typeof named === "string") found = await namedTokenizer(named, vocabSize);
    else if (named === undefined) found = await findTokenizer(path, vocabSize);
  };
  const setup = { path, backend, threads, context, cuda: { precision, kvPrecision, device } };
  const { client, info } = await WorkerClient.load(setup, onOpened, signal);
  const notes = found?.note === undefined ? info.notes : [...info.notes, found.note];
  return new Model(client, { ...info, notes }, found?.tokenizer, performance.now() - start);
}

/** A loaded model. It may run several generations at once. */
export class Model implements AsyncDisposable {
  /** The architecture; `seqLen` is the context. */
  readonly config: Readonly<Config>;
  /** The backend that computes, and how many threads it uses. */
  readonly backend: BackendName;
  readonly threads: number;
  /** What deserves to be told about that choice, a line each. */
  readonly notes: readonly string[];
  /** How long `loadModel` took. */
  readonly loadMs: number;
  private readonly client: WorkerClient;
  private readonly maybeTokenizer: Tokenizer | undefined;
  private sessions = 0;

  /** @internal Models come from `loadModel`. */
  constructor(client: WorkerClient, info: LoadedInfo, tokenizer: Tokenizer | undefined, loadMs: number) {
    this.client = client;
    this.config = info.config;
    this.backend = info.backend;
    this.threads = info.threads;
    this.notes = info.notes;
    this.maybeTokenizer = tokenizer;
    this.loadMs = loadMs;
  }

  /**
   * @internal
   * @throws Llama2Error E_USAGE if the model was loaded without one
   */
  get tokenizer(): Tokenizer {
    if (this.maybeTokenizer) return this.maybeTokenizer;
    throw new Llama2Error("E_USAGE", "this model was loaded without a tokenizer");
  }

  /**
   * Continue `prompt`: text, its UTF-8 bytes, or tokens, which begin with BOS. Iterate over the result for the
   * new text, piece by piece.
   * @throws Llama2Error E_USAGE for options that make no sense, E_CONTEXT for a prompt longer than the context;
   *   while iterating, E_NUMERIC for a broken model, or the signal's reason
   */
  generate(prompt: string | Uint8Array | readonly number[] = "", options: GenerateOptions = {}): Generation {
    const isText = typeof prompt === "string" || prompt instanceof Uint8Array;
    const tokens = isText ? this.encodePrompt(prompt) : prompt;
    this.checkTokens(tokens, this.config.seqLen);
    return new Generation(this, this.client, tokens, options);
  }

  /**
   * The tokens of a prompt, BOS first.
   * @throws Llama2Error E_CONTEXT if the context does not hold them
   */
  encodePrompt(prompt: string | Uint8Array): number[] {
    const { seqLen } = this.config;
    const text = toByteString(prompt);
    // A token has no more bytes than the longest piece, so some texts are too long before they are encoded.
    const atLeast = Math.floor(text.length / this.tokenizer.maxTokenLength);
    if (atLeast > seqLen) throw tooLong(`at least ${atLeast}`, seqLen);
    const tokens = encode(this.tokenizer, text, true, false);
    if (tokens.length > seqLen) throw tooLong(`${tokens.length}`, seqLen);
    return tokens;
  }

  /**
   * A conversation, which the model reads and writes turn by turn.
   * @internal The command line's chat.
   */
  session(): { id: number; end: () => void } {
    const id = ++this.sessions;
    return { id, end: () => this.client.endSession(id) };
  }

  /**
   * The logits after each of `tokens`, fed in order: rows of vocabSize, some at a time.
   * @param batch read as many tokens in one pass as the backend can; the bits are the same
   * @throws Llama2Error E_USAGE for a token that is none, E_CONTEXT, E_NUMERIC
   */
  async *logits(
    tokens: readonly number[],
    { batch = false, signal }: { batch?: boolean; signal?: AbortSignal } = {},
  ): AsyncGenerator<Float32Array> {
    this.checkTokens(tokens, this.config.seqLen);
    const session = this.session();
    try {
      // some tokens a request, so that a slow reader of 32,000 numbers a token is not run over
      const step = 16;
      for (let pos = 0; pos < tokens.length; pos += step) {
        const request = { type: "logits", tokens: tokens.slice(pos, pos + step), pos, batch } as const;
        yield* this.client.request<Float32Array>(request, { session: session.id, signal });
      }
    } finally {
      session.end();
    }
  }

  /**
   * The natural log-probability of each of `tokens` but the first, given those before it.
   * @param tokens at most seqLen + 1
   * @throws Llama2Error E_USAGE for a token that is none, E_CONTEXT, E_NUMERIC
   */
  async score(tokens: readonly number[], { signal }: { signal?: AbortSignal } = {}): Promise<Float64Array> {
    this.checkTokens(tokens, this.config.seqLen + 1);
    const logprobs: number[] = [];
    for await (const some of this.client.request<Float64Array>({ type: "score", tokens }, { signal })) {
      logprobs.push(...some);
    }
    return Float64Array.from(logprobs);
  }

  /** Free the model and end its thread, after the pass it is at. What is still running throws. May be called twice. */
  dispose(): Promise<void> {
    return this.client.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  private checkTokens(tokens: readonly number[], max: number): void {
    if (tokens.length === 0) throw new Llama2Error("E_USAGE", "there are no tokens to read");
    if (tokens.length > max) throw tooLong(`${tokens.length}`, max);
    for (const token of tokens) checkWhole("a token", token, 0, this.config.vocabSize - 1);
  }
}

/** A text in the making. Iterate over it once: the text comes piece by piece, in whole characters. */
export class Generation implements AsyncIterable<string> {
  /** The seed in use, also when the clock chose it. */
  readonly seed: bigint;
  /** The prompt's tokens, BOS first. */
  readonly promptTokens: readonly number[];
  /** All tokens so far: the first of the prompt, then those that were read or written. */
  readonly tokens: number[];
  /** Where the time went, once it is finished. */
  timings: Timings | undefined;
  private readonly model: Model;
  private readonly client: WorkerClient;
  private readonly options: GenerateOptions;
  private readonly maxTokens: number;

  /** @internal Generations come from `generate`. */
  constructor(model: Model, client: WorkerClient, promptTokens: readonly number[], options: GenerateOptions) {
    const { temperature = 1, topP = 0.9, seed = 0, maxTokens = model.config.seqLen } = options;
    if (!(temperature >= 0 && temperature < Infinity)) {
      throw new Llama2Error("E_USAGE", `temperature is ${temperature}, expected a number from 0 on`);
    }
    if (!(topP >= 0 && topP <= 1)) throw new Llama2Error("E_USAGE", `topP is ${topP}, expected a number from 0 to 1`);
    checkWhole("maxTokens", maxTokens, 0, 2 ** 53 - 1);
    this.seed = seedOf(seed);
    this.maxTokens = maxTokens;
    this.promptTokens = promptTokens;
    this.tokens = [promptTokens[0]];
    this.model = model;
    this.client = client;
    this.options = options;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string, void> {
    const prompt = this.promptTokens;
    const text = new TextStream(this.model.tokenizer, prompt[prompt.length - 1]);
    for await (const { tokens, logprobs } of this.slices()) {
      const first = this.tokens.length - tokens.length;
      let piece = "";
      for (let i = 0; i < tokens.length; i++) {
        if (first + i < prompt.length) continue;
        this.options.onToken?.({ id: tokens[i], position: first + i, logprob: logprobs[i] });
        piece += text.push(tokens[i]);
      }
      if (piece !== "") yield piece;
    }
    const rest = text.end();
    if (rest !== "") yield rest;
  }

  /**
   * The same, as tokens: the prompt's after the first, as the model reads them, then the new ones.
   * @internal
   */
  async *slices({ session, pos = 0, stop = BOS }: { session?: number; pos?: number; stop?: number } = {}) {
    for await (const slice of this.stories([this.seed], { session, pos, stop })) {
      this.tokens.push(...slice.tokens);
      yield slice;
    }
  }

  /**
   * A story for each seed, told at once where the backend can; slices of different stories come mingled.
   * @internal
   */
  async *stories(
    seeds: readonly bigint[],
    { session, pos = 0, stop = BOS }: { session?: number; pos?: number; stop?: number } = {},
  ): AsyncGenerator<Slice, void> {
    const { temperature = 1, topP = 0.9, signal, onToken } = this.options;
    const request = {
      type: "generate",
      tokens: this.promptTokens,
      pos,
      // the last prompt token is read for the first new one
      steps: Math.min(this.model.config.seqLen, pos + this.promptTokens.length - 1 + this.maxTokens),
      stop,
      temperature,
      topP,
      seeds,
      logprobs: onToken !== undefined,
    } as const;
    const output = this.client.request<Slice[]>(request, { session, signal });
    try {
      let next = await output.next();
      for (; !next.done; next = await output.next()) yield* next.value;
      if (next.value) this.timings = { loadMs: this.model.loadMs, ...next.value };
    } finally {
      await output.return(undefined); // cancels it if the loop was left early
    }
  }
}

/**
 * A seed as the generator's first state, which must not be 0. The clock's seeds stay below 2^31, so that run.c,
 * whose atoi reads no more, can be given the same.
 */
function seedOf(seed: number | bigint): bigint {
  if (typeof seed === "number" && !Number.isSafeInteger(seed)) {
    throw new Llama2Error("E_USAGE", `seed is ${seed}, expected a whole number; large ones as bigint`);
  }
  const wide = BigInt(seed);
  if (wide < -(2n ** 63n) || wide >= 2n ** 64n) {
    throw new Llama2Error("E_USAGE", `seed is ${seed}, expected -2^63 to 2^64-1`);
  }
  return wide === 0n ? BigInt(Date.now() % 2 ** 31 || 1) : BigInt.asUintN(64, wide);
}

function checkWhole(what: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new Llama2Error("E_USAGE", `${what} is ${value}, expected a whole number from ${min} to ${max}`);
}

/** @throws Llama2Error E_USAGE for what cuda does not know, and for other backends, which cannot choose */
function checkCuda(backend: BackendName | "auto", options: CudaOptions): void {
  const { precision = "fp32", kvPrecision = "fp32", device = 0 } = options;
  const oneOf = (what: string, value: string, all: readonly string[]) => {
    if (!all.includes(value)) throw new Llama2Error("E_USAGE", `${what} is ${value}, expected ${all.join(", ")}`);
  };
  oneOf("precision", precision, PRECISIONS);
  oneOf("kvPrecision", kvPrecision, KV_PRECISIONS);
  checkWhole("device", device, 0, 1023);
  if (backend === "auto" || backend === "cuda" || !meansCuda(options)) return;
  throw new Llama2Error(
    "E_USAGE",
    `a precision and a device can be chosen for cuda only: ${backend} computes in the model's`,
  );
}

function tooLong(found: string, max: number): Llama2Error {
  return new Llama2Error(
    "E_CONTEXT",
    `there are ${found} tokens to read, and the context holds ${max}. Shorten the text`,
  );
}
