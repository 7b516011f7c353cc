/*
 * What a user of the library holds: a model, with text going in and text coming out.
 */
import type { BackendName } from "./backend/names.ts";
import { checkOptions, checkSignal, checkWhole, show, usage } from "./check.ts";
import { encode } from "./encode.ts";
import { Llama2Error } from "./errors.ts";
import { type GenerateOptions, Generation, type Machinery } from "./generation.ts";
import type { Tokenizer } from "./llama2/tokenizer.ts";
import type { Config } from "./llama2/transformer.ts";
import type { ModelInfo } from "./modelInfo.ts";
import type { Client, LoadedInfo } from "./run/client.ts";
import { revive } from "./run/failure.ts";
import type { SequenceRequest, Slice } from "./run/protocol.ts";
import { toByteString } from "./text.ts";

/** Token ids: an array, or any typed array of integers but Uint8Array, which is text. */
export type TokenIds =
  | readonly number[]
  | Int8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** A loaded model. It may run any number of requests at once; each gets what it would get alone. */
export class Model implements AsyncDisposable {
  /** The architecture; `seqLen` is the context. */
  readonly config: Readonly<Config>;
  /** Its name, shape and size. */
  readonly info: Readonly<ModelInfo>;
  /** The backend that computes, its instruction set, and how many threads it uses. */
  readonly backend: BackendName;
  readonly isa: string;
  readonly threads: number;
  /** Notes about that choice, a line each. */
  readonly notes: readonly string[];
  /** How long `loadModel` took. */
  readonly loadMs: number;
  private readonly client: Client;
  private readonly maybeTokenizer: Tokenizer | undefined;

  /** @internal Models come from `loadModel`. */
  constructor(client: Client, info: LoadedInfo, tokenizer: Tokenizer | undefined, loadMs: number) {
    this.client = client;
    this.config = info.config;
    this.info = info.info;
    this.backend = info.backend;
    this.isa = info.isa;
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
    return this.maybeTokenizer ?? usage("this model was loaded without a tokenizer");
  }

  /**
   * Continue `prompt`: text, its UTF-8 bytes, or tokens, which begin with BOS. Iterate over the result, once, for the
   * new text, piece by piece.
   * @throws Llama2Error E_USAGE for arguments that make no sense, E_CONTEXT for a prompt longer than the context;
   *   while iterating, E_NUMERIC for a broken model, or the signal's reason
   */
  generate(prompt: string | Uint8Array | TokenIds = "", options: GenerateOptions = {}): Generation {
    const isText = typeof prompt === "string" || prompt instanceof Uint8Array;
    const tokens = isText ? this.encodePrompt(prompt) : this.tokensOf(prompt, this.config.seqLen);
    const { client, config, loadMs } = this;
    const machinery: Machinery = { client, config, loadMs, tokenizer: () => this.tokenizer };
    return new Generation(machinery, tokens, options);
  }

  /**
   * The tokens of a prompt, BOS first.
   * @throws Llama2Error E_CONTEXT if the context does not hold them
   */
  encodePrompt(prompt: string | Uint8Array): number[] {
    if (typeof prompt !== "string" && !(prompt instanceof Uint8Array)) {
      usage(`the prompt is ${show(prompt)}, expected text or its UTF-8 bytes`);
    }
    const { seqLen } = this.config;
    const text = toByteString(prompt);
    // A token has at most as many bytes as the longest piece, so some texts are known to be too long before they are encoded.
    const atLeast = Math.floor(text.length / this.tokenizer.maxTokenLength);
    if (atLeast > seqLen) throw tooLong(`at least ${atLeast}`, seqLen);
    const tokens = encode(this.tokenizer, text, true, false);
    if (tokens.length > seqLen) throw tooLong(`${tokens.length}`, seqLen);
    return tokens;
  }

  /**
   * The logits after each of `tokens`, fed in order: rows of vocabSize, some at a time.
   * @param options.batch read as many tokens in one pass as the backend can; the bits are the same
   * @throws Llama2Error E_USAGE, E_CONTEXT; while iterating, E_NUMERIC, or the signal's reason
   */
  logits(tokens: TokenIds, options: { batch?: boolean; signal?: AbortSignal } = {}): AsyncGenerator<Float32Array> {
    checkOptions("logits", options, ["batch", "signal"]);
    checkSignal(options.signal);
    return this.rows(this.tokensOf(tokens, this.config.seqLen), options.batch ?? false, options.signal);
  }

  /**
   * The natural log-probability of each of `tokens` but the first, given those before it.
   * @param tokens at most seqLen + 1
   * @throws Llama2Error E_USAGE for a token that is out of range, E_CONTEXT, E_NUMERIC; the signal's reason
   */
  async score(tokens: TokenIds, options: { signal?: AbortSignal } = {}): Promise<Float64Array> {
    checkOptions("score", options, ["signal"]);
    checkSignal(options.signal);
    const all = this.tokensOf(tokens, this.config.seqLen + 1);
    const request: SequenceRequest = { tokens: all, maxTokens: 0, stops: [], want: "logprobs" };
    const logprobs = new Float64Array(all.length - 1);
    let done = 0;
    for await (const slice of this.read(request, options.signal)) {
      logprobs.set(slice.logprobs ?? [], done);
      done += slice.logprobs?.length ?? 0;
    }
    return logprobs;
  }

  /**
   * Free the model and end its thread, after the pass it is at. What is still running throws E_USAGE. It always
   * resolves, and may be called again.
   */
  dispose(): Promise<void> {
    return this.client.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  private async *rows(tokens: number[], batch: boolean, signal?: AbortSignal): AsyncGenerator<Float32Array> {
    // a few tokens per request, so that rows of 32,000 numbers do not pile up for a slow reader; the slot keeps what was read
    const step = 16;
    for (let skip = 0; skip < tokens.length; skip += step) {
      const some = tokens.slice(0, skip + step);
      const request: SequenceRequest = {
        tokens: some,
        maxTokens: 0,
        stops: [],
        want: "logits",
        skip,
        oneByOne: !batch,
      };
      for await (const { logits } of this.read(request, signal)) if (logits) yield logits;
    }
  }

  /** Read one sequence. */
  private async *read(request: SequenceRequest, signal?: AbortSignal): AsyncGenerator<Slice> {
    for await (const { slices } of this.client.request([request], signal).reports) {
      for (const slice of slices) {
        yield slice;
        if (slice.error) throw revive(slice.error);
      }
    }
  }

  /** @throws Llama2Error E_USAGE for invalid tokens, E_CONTEXT for more than `max` */
  private tokensOf(tokens: TokenIds, max: number): number[] {
    const isList = Array.isArray(tokens) || (ArrayBuffer.isView(tokens) && !/Float|DataView/.test(show(tokens)));
    if (!isList) usage(`the tokens are ${show(tokens)}, expected an array of token ids, or an integer typed array`);
    if (tokens.length === 0) usage("there are no tokens to read");
    if (tokens.length > max) throw tooLong(`${tokens.length}`, max);
    const ids = Array.from(tokens as ArrayLike<number | bigint>, (id) => (typeof id === "bigint" ? Number(id) : id));
    for (const id of ids) checkWhole("a token", id, 0, this.config.vocabSize - 1);
    return ids;
  }
}

function tooLong(found: string, max: number): Llama2Error {
  return new Llama2Error(
    "E_CONTEXT",
    `there are ${found} tokens to read, and the context holds ${max}. Shorten the text`,
  );
}
