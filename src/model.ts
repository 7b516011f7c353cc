/*
 * What a user of the library holds: a model, with text going in and text coming out.
 */
import type { BackendName } from "./backend/names.ts";
import { Chat, type ChatOptions } from "./chat.ts";
import type { ChatTemplate } from "./chatTemplate.ts";
import { checkOptions, checkSignal, checkWhole, show, usage } from "./check.ts";
import { encode, type PreparingTokenizer } from "./encode.ts";
import { Llama2Error } from "./errors.ts";
import { checkGenerateAll, type GenerateAllOptions, type GenerateAllResult, generateAll } from "./generateAll.ts";
import type { GenerateOptions, Token } from "./generateOptions.ts";
import { Generation, type Machinery, type Run } from "./generation.ts";
import type { Config } from "./llama2/transformer.ts";
import type { ModelInfo } from "./modelInfo.ts";
import { type Hashes, makeReceipt, type Receipt } from "./receipt.ts";
import type { Client, LoadedInfo } from "./run/client.ts";
import { revive } from "./run/failure.ts";
import type { GuessOwner } from "./run/guessFile.ts";
import type { SequenceRequest, Slice } from "./run/protocol.ts";
import { toByteString } from "./text.ts";
import { TextTokenizer } from "./textTokenizer.ts";

export { likeliest } from "./run/sampling.ts";

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

/** A text, its UTF-8 bytes, or tokens, which begin with BOS. */
export type Prompt = string | Uint8Array | TokenIds;

/** What belongs to a model beside its weights. */
export interface Belongings {
  tokenizer: PreparingTokenizer | undefined;
  /** The chat template that comes with it, if any, read when it is asked for. */
  chatTemplate: () => Promise<ChatTemplate | undefined>;
  /** The hashes of its files. */
  hashes: (signal?: AbortSignal) => Promise<Hashes>;
  /** What its table of guesses says that it is for. */
  guessOwner: () => Promise<GuessOwner>;
  /** How long loading took. */
  loadMs: number;
}

/** Ends the thread of a model that has been garbage collected, and frees its memory. */
const forgotten = new FinalizationRegistry<Client>((client) => void client.close());

/** A loaded model. It runs any number of requests at once; each gets the same result as it would alone. */
export class Model implements AsyncDisposable {
  /** The architecture; `seqLen` is the context. */
  readonly config: Readonly<Config>;
  /** Its name, shape and size. */
  readonly info: Readonly<ModelInfo>;
  /** The backend that computes, its instruction set, and how many threads it uses. */
  readonly backend: BackendName;
  readonly isa: string;
  readonly threads: number;
  /** Notes about the choice of the backend, a line each. */
  readonly notes: readonly string[];
  /** How long `loadModel` took. */
  readonly loadMs: number;
  private readonly client: Client;
  private readonly belongings: Belongings;
  private readonly maybeTokenizer: TextTokenizer | undefined;
  private hashing: Promise<Hashes> | undefined;

  /** @internal Models come from `loadModel`. */
  constructor(client: Client, info: LoadedInfo, belongings: Belongings) {
    forgotten.register(this, client, this);
    this.client = client;
    this.config = info.config;
    this.info = info.info;
    this.backend = info.backend;
    this.isa = info.isa;
    this.threads = info.threads;
    this.notes = info.notes;
    this.belongings = belongings;
    this.maybeTokenizer = belongings.tokenizer && new TextTokenizer(belongings.tokenizer);
    this.loadMs = belongings.loadMs;
  }

  /**
   * Text to tokens and back.
   * @throws Llama2Error E_USAGE if the model was loaded without one
   */
  get tokenizer(): TextTokenizer {
    return this.maybeTokenizer ?? usage("this model was loaded without a tokenizer");
  }

  /** Whether it has a tokenizer, and so can read and write text. */
  get hasTokenizer(): boolean {
    return this.maybeTokenizer !== undefined;
  }

  /**
   * Continue `prompt`: text, its UTF-8 bytes, or tokens, which begin with BOS. Iterate over the result, once, for the
   * new text, piece by piece.
   * @throws Llama2Error E_USAGE for arguments that make no sense, E_CONTEXT for a prompt longer than the context;
   *   while iterating, E_NUMERIC for a broken model, or the signal's reason
   */
  generate(prompt: Prompt = "", options: GenerateOptions = {}): Generation {
    const { client, config, loadMs } = this;
    const { tokenizer } = this.belongings;
    const machinery: Machinery = { client, config, loadMs, tokenizer, owner: this };
    return new Generation(machinery, this.promptTokens(prompt, config.seqLen), options);
  }

  /**
   * Continue many prompts at once, in shared passes. Each text is what `generate` gives for its prompt; prompt k has the
   * seed `seed` + k. Up to `concurrency` texts are begun before they are asked for. If one fails, all end.
   * @param prompts in an array, or as they come
   * @throws Llama2Error as `generate` does
   */
  generateAll(
    prompts: Iterable<Prompt> | AsyncIterable<Prompt>,
    options: GenerateAllOptions = {},
  ): AsyncGenerator<GenerateAllResult, void> {
    checkGenerateAll(prompts, options, this.config);
    return generateAll((prompt, one) => this.generate(prompt, one), prompts, options);
  }

  /** @internal What its table of guesses says that it is for. */
  guessOwner(): Promise<GuessOwner> {
    return this.belongings.guessOwner();
  }

  /**
   * Chat with the model. Earlier turns stay in its KV cache, so each turn reads only its own tokens.
   * @throws Llama2Error E_USAGE, E_FORMAT for a chat template that does not work
   */
  async chat(options: ChatOptions = {}): Promise<Chat> {
    const template = await this.belongings.chatTemplate();
    return new Chat(this, options, template);
  }

  /**
   * The tokens of a prompt, BOS first.
   * @throws Llama2Error E_CONTEXT if the context does not hold them
   */
  encodePrompt(prompt: string | Uint8Array): number[] {
    if (typeof prompt !== "string" && !(prompt instanceof Uint8Array)) {
      usage(`the prompt is ${show(prompt)}, expected text or its UTF-8 bytes`);
    }
    return this.promptTokens(prompt, this.config.seqLen);
  }

  /** @throws Llama2Error E_USAGE for an invalid prompt, E_CONTEXT for more than `max` tokens */
  private promptTokens(prompt: Prompt, max: number): number[] {
    if (typeof prompt !== "string" && !(prompt instanceof Uint8Array)) return this.tokensOf(prompt, max);
    const { vocabulary } = this.tokenizer;
    const text = toByteString(prompt);
    // A token has at most as many bytes as the longest piece, so some texts are known to be too long before they are encoded.
    const atLeast = Math.floor(text.length / vocabulary.maxTokenLength);
    if (atLeast > max) throw tooLong(`at least ${atLeast}`, max);
    const tokens = encode(vocabulary, text, true, false);
    if (tokens.length > max) throw tooLong(`${tokens.length}`, max);
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
   * How likely the model finds a text: each of its tokens but the first, which is BOS, given those before it.
   * @param text it, its UTF-8 bytes, or tokens; at most seqLen + 1 of them
   * @param options.logprobs report the rank of each token as well, and this many alternatives: 0 to 20
   * @throws Llama2Error E_USAGE for a token that is out of range, E_CONTEXT, E_NUMERIC; the signal's reason
   */
  async score(text: Prompt, options: { logprobs?: number; signal?: AbortSignal } = {}): Promise<Token[]> {
    checkOptions("score", options, ["logprobs", "signal"]);
    checkWhole("logprobs", options.logprobs ?? 0, 0, 20);
    checkSignal(options.signal);
    const tokens = this.promptTokens(text, this.config.seqLen + 1);
    const request: SequenceRequest = { tokens, maxTokens: 0, stops: [], want: "logprobs", top: options.logprobs };
    const scored: Token[] = [];
    for await (const { logprobs = [], details } of this.read(request, options.signal)) {
      for (const [i, logprob] of logprobs.entries()) {
        const position = scored.length + 1;
        scored.push({ id: tokens[position], position, logprob, ...details?.[i] });
      }
    }
    return scored;
  }

  /**
   * The hashes of its files, as receipts have them. The files are read once, when hashes are first asked for.
   * @throws Llama2Error E_FILE
   */
  hashes(): Promise<Hashes> {
    this.hashing ??= this.belongings.hashes();
    return this.hashing;
  }

  /**
   * What a text was made from, so that anybody can make it again: see `verify`.
   * @param text one that is finished
   * @param options.logits hash the logits as well, by reading its tokens again. @default false
   * @throws Llama2Error E_USAGE, E_FILE; the signal's reason
   */
  async receipt(text: Generation, options: { logits?: boolean; signal?: AbortSignal } = {}): Promise<Receipt> {
    if (!(text instanceof Generation)) usage(`the text is ${show(text)}, expected what generate returned`);
    checkOptions("receipt", options, ["logits", "signal"]);
    checkSignal(options.signal);
    if (text.finishReason === undefined) usage("the text is not finished: iterate over it first");
    return this.receiptOf(text.run(), options);
  }

  /** @internal */
  async receiptOf(run: Run, options: { logits?: boolean; signal?: AbortSignal }): Promise<Receipt> {
    return makeReceipt(this, run, await this.hashes(), options);
  }

  /**
   * Free the model and end its thread, after the current pass. Requests that are still running throw E_USAGE. It always
   * resolves, and may be called again.
   */
  dispose(): Promise<void> {
    forgotten.unregister(this);
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
