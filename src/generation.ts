/*
 * A text that is being generated: tokens come from the model's thread and become text here.
 */
import { usage } from "./check.ts";
import {
  checkGenerateOptions,
  type GenerateOptions,
  nextSeed,
  samplingOf,
  seedOf,
  stopsOf,
  type Token,
} from "./generateOptions.ts";
import { buildSampler } from "./llama2/sampler.ts";
import type { Tokenizer } from "./llama2/tokenizer.ts";
import type { Config } from "./llama2/transformer.ts";
import { type LookaheadCounts, lookaheadOf, totalOf } from "./lookaheadCounts.ts";
import type { Client } from "./run/client.ts";
import { revive } from "./run/failure.ts";
import type { GuessCounts, Sampling, SequenceRequest, Slice, Timings } from "./run/protocol.ts";
import { advance } from "./run/sequence.ts";
import { SequenceText } from "./sequenceText.ts";

export type { Timings };

/** One of the texts that `best` chooses from. */
export interface BestCandidate {
  seed: bigint;
  /** Whether it ended by itself, before its limit of tokens. */
  ended: boolean;
  /** Mean log-probability of its tokens, in nats. Absent if it has no tokens. */
  meanLogprob?: number;
  /** The new ones. */
  tokens: number[];
}

/** Some text, and the new tokens that came with it. Tokens come at once, text only in whole characters. */
export interface Chunk {
  text: string;
  tokens: Token[];
}

/** How many tokens there are. */
export interface Usage {
  promptTokens: number;
  completionTokens: number;
  totalTokens: number;
}

/** What a generation needs of its model. */
export interface Machinery {
  client: Client;
  config: Readonly<Config>;
  loadMs: number;
  tokenizer: Tokenizer | undefined;
  /** Keeps the model from being collected while the generation is in use. */
  owner: object;
}

/**
 * A slice with the text it completes.
 * @internal
 */
export interface Part extends Slice {
  text: string;
  /** A stop string ends it; the last token has not been read. */
  cut?: boolean;
}

/** What one text was made from, and all its tokens. */
export interface Run {
  promptTokens: readonly number[];
  tokens: readonly number[];
  sampling: Sampling;
  /** The limit that gives exactly these tokens again, whatever ended them. */
  maxTokens: number;
  stops: readonly number[];
  /** How many of the tokens have been read. All of them, if they ended with a stop token, which is not among them. */
  positions: number;
}

/** A text that is being generated. Iterate over it once: the text comes piece by piece, in whole characters. */
export class Generation implements AsyncIterable<string> {
  /** The seed in use, also when the clock chose it. With `best`: the chosen text's. */
  seed: bigint;
  /** The prompt's tokens, BOS first. */
  readonly promptTokens: readonly number[];
  /** All tokens so far: those of the prompt, then the new ones. */
  readonly tokens: number[];
  /** With the option `logprobs`: how each new token so far was chosen. */
  readonly logprobs: Token[] | undefined;
  /**
   * Why it ended. "stop": a stop token or stop string; "length": the limit of tokens; "cancelled": the signal, or the
   * caller left the loop. Undefined before the end, and if it failed.
   */
  finishReason: "stop" | "length" | "cancelled" | undefined;
  /** Where the time went so far, also if it was cancelled. Undefined before the first token. */
  timings: Timings | undefined;
  /** With `best`: the texts that it chose from, in the order of their seeds. */
  candidates: BestCandidate[] | undefined;
  /** How well its tokens were guessed ahead so far. Undefined where nothing is guessed; with `best`: all texts together. */
  lookahead: LookaheadCounts | undefined;
  /** @internal The state of the random number generator, once the text is finished. */
  state: bigint;
  /** @internal Called when the first token is asked for. */
  onBegin: (() => void) | undefined;
  /** @internal Called at the end, also after an error. */
  onEnd: (() => void) | undefined;
  private readonly machinery: Machinery;
  private readonly options: GenerateOptions;
  private readonly stops: { tokens: number[]; strings: string[] };
  private wantsTokens: boolean;
  private started = false;
  private endedByToken = false;

  /** @internal Generations come from `generate`. */
  constructor(machinery: Machinery, promptTokens: readonly number[], options: GenerateOptions) {
    checkGenerateOptions(options, machinery.config);
    this.seed = seedOf(options.seed ?? 0);
    this.state = this.seed;
    this.promptTokens = promptTokens;
    this.tokens = [...promptTokens];
    this.machinery = machinery;
    this.options = { ...options };
    this.stops = stopsOf(options);
    if (!machinery.tokenizer && (this.stops.strings.length > 0 || options.echo)) usage(NO_TOKENIZER);
    this.logprobs = options.logprobs === undefined ? undefined : [];
    this.wantsTokens = (options.onToken ?? options.logprobs) !== undefined;
  }

  /** The numbers of tokens so far. */
  get usage(): Usage {
    const promptTokens = this.promptTokens.length;
    const totalTokens = this.tokens.length;
    return { promptTokens, completionTokens: totalTokens - promptTokens, totalTokens };
  }

  /** @throws Llama2Error E_USAGE the second time, or if the model was loaded without a tokenizer: see `chunks` */
  [Symbol.asyncIterator](): AsyncGenerator<string, void> {
    if (!this.machinery.tokenizer) usage(`${NO_TOKENIZER}: iterate over chunks(), which have tokens`);
    return this.pieces(this.chunked());
  }

  /**
   * The whole text, once it is finished.
   * @throws Llama2Error as iterating does
   */
  async text(): Promise<string> {
    let text = "";
    for await (const piece of this) text += piece;
    return text;
  }

  /**
   * The text with its tokens and their log-probabilities. Without a tokenizer the text is empty.
   * @throws Llama2Error E_USAGE if it has been iterated over
   */
  chunks(): AsyncGenerator<Chunk, void> {
    this.wantsTokens = true;
    return this.chunked();
  }

  /**
   * The text as a stream of strings. Cancelling it stops the generation.
   * @example new Response(model.generate("Once").toReadableStream().pipeThrough(new TextEncoderStream()))
   */
  toReadableStream(): ReadableStream<string> {
    const pieces = this[Symbol.asyncIterator]();
    return new ReadableStream<string>({
      async pull(controller) {
        const { value, done } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await pieces.return();
      },
    });
  }

  /**
   * The same, as tokens with their text: new ones only, but for the first part with `echo`.
   * @internal
   */
  slices(): AsyncGenerator<Part, void> {
    this.begin();
    return this.parts();
  }

  /**
   * A text for each seed, in shared passes; parts of different texts are interleaved. One that fails does not end the
   * others; its error is thrown when they have ended.
   * @internal
   */
  stories(seeds: readonly bigint[]): AsyncGenerator<Part, void> {
    this.begin();
    return this.sequences(seeds);
  }

  /**
   * What the text was made from, or one of several `stories`, once it is finished.
   * @internal
   */
  run(story: { seed: bigint; tokens: readonly number[]; endedByToken: boolean } = this.own()): Run {
    const { seed, tokens, endedByToken } = story;
    const { promptTokens } = this;
    return {
      promptTokens,
      tokens,
      sampling: samplingOf(this.options, seed),
      maxTokens: endedByToken ? this.maxTokens : tokens.length - promptTokens.length,
      stops: this.stops.tokens,
      positions: endedByToken ? tokens.length : tokens.length - 1,
    };
  }

  private own() {
    const { seed, tokens, endedByToken } = this;
    return { seed, tokens, endedByToken };
  }

  private get maxTokens(): number {
    const { seqLen } = this.machinery.config;
    return Math.min(this.options.maxTokens ?? seqLen, Math.max(0, seqLen + 1 - this.promptTokens.length));
  }

  private begin(): void {
    if (this.started) usage("a generation can be iterated once: call generate again");
    this.started = true;
  }

  private chunked(): AsyncGenerator<Chunk, void> {
    this.begin();
    return this.chunksOf(this.parts());
  }

  private async *pieces(chunks: AsyncGenerator<Chunk, void>): AsyncGenerator<string, void> {
    for await (const { text } of chunks) if (text !== "") yield text;
  }

  private async *chunksOf(parts: AsyncGenerator<Part, void>): AsyncGenerator<Chunk, void> {
    for await (const part of parts) {
      const tokens = tokensOf(part, this.tokens.length - part.tokens.length);
      for (const token of tokens) this.options.onToken?.(token);
      if (part.text !== "" || tokens.length > 0) yield { text: part.text, tokens };
    }
  }

  /** The parts of the text; with `best`, of the chosen one. */
  private async *parts(): AsyncGenerator<Part, void> {
    const { best = 1, temperature = 1, signal } = this.options;
    const parts = best > 1 && temperature !== 0 ? this.choose(best) : this.sequences([this.seed]);
    let failed = false;
    this.onBegin?.();
    try {
      for await (const part of parts) {
        this.take(part);
        yield part;
      }
    } catch (error) {
      failed = !signal?.aborted;
      throw error;
    } finally {
      if (!failed) this.finishReason ??= "cancelled";
      this.onEnd?.();
    }
  }

  private take(part: Part): void {
    const { tokens, state, ended, cut = false, ahead } = part;
    this.logprobs?.push(...tokensOf(part, this.tokens.length));
    this.tokens.push(...tokens);
    if (state !== undefined) this.state = state;
    this.lookahead = lookaheadOf(ahead) ?? this.lookahead;
    if (ended === "stop" || ended === "length") this.finishReason = ended;
    this.endedByToken = ended === "stop" && !cut;
  }

  /** Write `count` texts, and yield the best as one part. */
  private async *choose(count: number): AsyncGenerator<Part, void> {
    const seeds = Array.from({ length: count }, (_, k) => nextSeed(this.seed, k));
    const texts = seeds.map((_, sequence) => {
      return { sequence, text: "", tokens: [], logprobs: [], details: [], ended: "length", state: 0n } as Whole;
    });
    const counts: GuessCounts[] = [];
    let done = 0;
    for await (const part of this.sequences(seeds)) {
      const text = texts[part.sequence];
      if (part.ahead) counts[part.sequence] = part.ahead;
      text.text += part.text;
      text.tokens.push(...part.tokens);
      text.logprobs.push(...(part.logprobs ?? []));
      text.details.push(...(part.details ?? []));
      if (!part.ended) continue;
      text.ended = part.ended;
      text.cut = part.cut;
      text.state = part.state ?? 0n;
      this.options.onProgress?.(++done, count);
    }
    this.candidates = texts.map(({ tokens, logprobs, ended }, k) => {
      const candidate: BestCandidate = { seed: seeds[k], ended: ended === "stop", tokens };
      if (tokens.length > 0) candidate.meanLogprob = logprobs.reduce((sum, logprob) => sum + logprob) / tokens.length;
      return candidate;
    });
    const chosen = bestOf(this.candidates);
    this.seed = seeds[chosen];
    yield { ...texts[chosen], ahead: totalOf(counts) };
  }

  private async *sequences(seeds: readonly bigint[]): AsyncGenerator<Part, void> {
    const { client, loadMs, tokenizer } = this.machinery;
    const { signal, echo = false } = this.options;
    const texts: (SequenceText | undefined)[] = [];
    const echoes: Part[] = [];
    for (const sequence of seeds.keys()) {
      const onEcho = (text: string) => echoes.push({ sequence, tokens: [], text });
      texts.push(
        tokenizer && new SequenceText(tokenizer, this.promptTokens, this.stops.strings, echo ? onEcho : undefined),
      );
    }
    yield* echoes;
    const { reports, end } = client.request(this.requestsFor(seeds), signal);
    const sampler = buildSampler(1, this.options.temperature ?? 1, 0, this.seed);
    let failure: Error | undefined;
    for await (const { slices, timings } of reports) {
      this.timings = { loadMs, ...timings };
      for (const slice of slices) {
        const text = texts[slice.sequence];
        if (text?.stopped) continue;
        if (slice.error) failure ??= revive(slice.error);
        const part = partOf(slice, text);
        if (text?.stopped) {
          part.ended = "stop";
          part.cut = true;
          part.state = advance(sampler, seeds[slice.sequence], text.count); // the thread may be further ahead
          if (seeds.length > 1) end(slice.sequence);
        }
        yield part;
      }
      if (texts.length === 1 && texts[0]?.stopped) break;
    }
    if (failure) throw failure;
  }

  private requestsFor(seeds: readonly bigint[]): SequenceRequest[] {
    const { best = 1, logprobs } = this.options;
    const request = {
      tokens: this.promptTokens,
      maxTokens: this.maxTokens,
      stops: this.stops.tokens,
      want: this.wantsTokens || best > 1 ? ("logprobs" as const) : ("tokens" as const),
      top: logprobs,
    };
    return seeds.map((seed) => ({ ...request, sampling: samplingOf(this.options, seed) }));
  }
}

const NO_TOKENIZER = "this model was loaded without a tokenizer";

/**
 * The tokens of a part, where it has log-probabilities.
 * @param first the position of the first of them
 * @internal
 */
export function tokensOf({ tokens, logprobs = [], details = [] }: Slice, first: number): Token[] {
  return logprobs.map((logprob, i) => ({ id: tokens[i], position: first + i, logprob, ...details[i] }));
}

/** A whole text of several. */
type Whole = Part & Required<Pick<Part, "logprobs" | "details">>;

/** A slice with its text, up to a stop string. */
function partOf(slice: Slice, text: SequenceText | undefined): Part {
  if (!text) return { ...slice, text: "" };
  const { text: some, used } = text.push(slice.tokens);
  const part = { ...slice, text: slice.ended && !text.stopped ? some + text.end() : some };
  if (used === slice.tokens.length) return part;
  part.tokens = slice.tokens.slice(0, used);
  part.logprobs = slice.logprobs?.slice(0, used);
  part.details = slice.details?.slice(0, used);
  part.guessed = slice.guessed?.filter((index) => index < used);
  return part;
}

/** The index of the best candidate. */
function bestOf(candidates: readonly BestCandidate[]): number {
  const anyEnded = candidates.some(({ ended, tokens }) => ended && tokens.length > 0);
  let best = 0;
  let highest = -Infinity;
  for (const [k, { ended, meanLogprob = -Infinity }] of candidates.entries()) {
    if (meanLogprob > highest && (ended || !anyEnded)) [best, highest] = [k, meanLogprob];
  }
  return best;
}
