/*
 * A text in the making: tokens come from below, text goes up.
 */
import { checkFunction, checkOptions, checkSignal, checkWhole, show, usage } from "./check.ts";
import type { Llama2Error } from "./errors.ts";
import { BOS, EOS, type Tokenizer } from "./llama2/tokenizer.ts";
import type { Config } from "./llama2/transformer.ts";
import type { Client } from "./run/client.ts";
import { revive } from "./run/failure.ts";
import type { SequenceRequest, Slice, Timings } from "./run/protocol.ts";
import { TextStream } from "./text.ts";

export type { Timings };

export interface GenerateOptions {
  /** 0: always the likeliest token; 1: the model's own probabilities; above: bolder. @default 1 */
  temperature?: number;
  /** Draw from the likeliest tokens only, which together have this probability. 0 and 1 switch it off. @default 0.9 */
  topP?: number;
  /** The same seed tells the same story. Whole, -2^63 to 2^64-1; 0 or none: the clock. */
  seed?: number | bigint;
  /** The most new tokens. @default until the context is full */
  maxTokens?: number;
  /** Tokens that end the text, and are not part of it. @default BOS and EOS */
  stops?: readonly number[];
  /**
   * Write so many texts at once, with the seeds `seed`, `seed` + 1, ..., and tell only the best: of those that ended by
   * themselves, or of all if none did, the one with the highest mean log-probability a token. 1 to 64; at temperature 0
   * it is 1. Nothing is yielded before the choice. @default 1
   */
  best?: number;
  /** Called as texts of `best` end: how many have, and of how many. */
  onProgress?: (ended: number, of: number) => void;
  /** Stops at the next token; the loop then throws the signal's reason. */
  signal?: AbortSignal;
  /** Called for each new token, before the text it completes is yielded. */
  onToken?: (token: Token) => void;
}

const OPTIONS: readonly (keyof GenerateOptions)[] = [
  "temperature",
  "topP",
  "seed",
  "maxTokens",
  "stops",
  "best",
  "onProgress",
  "signal",
  "onToken",
];

/** One generated token. */
export interface Token {
  id: number;
  /** Where in the sequence it stands; the first prompt token is at 0. */
  position: number;
  /** Natural logarithm of its probability, from the raw logits: before temperature and top-p. */
  logprob: number;
}

/** One of the texts that `best` chooses from. */
export interface BestCandidate {
  seed: bigint;
  /** Whether it ended by itself, before the most tokens that it could have. */
  ended: boolean;
  /** Mean log-probability of its tokens, in nats. Absent if it has none. */
  meanLogprob?: number;
  /** The new ones. */
  tokens: number[];
}

/** What a generation runs on. */
export interface Machinery {
  client: Client;
  config: Readonly<Config>;
  loadMs: number;
  tokenizer: () => Tokenizer;
}

/** A text in the making. Iterate over it once: the text comes piece by piece, in whole characters. */
export class Generation implements AsyncIterable<string> {
  /** The seed in use, also when the clock chose it. With `best`: of the text that is told. */
  seed: bigint;
  /** The prompt's tokens, BOS first. */
  readonly promptTokens: readonly number[];
  /** All tokens so far: those of the prompt, then the new ones. */
  readonly tokens: number[];
  /** Why it ended: a token that ends texts, or the most tokens. Undefined before. */
  finishReason: "stop" | "length" | undefined;
  /** Where the time went so far. Undefined before the first token. */
  timings: Timings | undefined;
  /** What `best` chose from, in the order of their seeds. */
  candidates: BestCandidate[] | undefined;
  /** @internal The state of the random number generator, once it is finished. */
  state: bigint;
  private readonly machinery: Machinery;
  private readonly options: GenerateOptions;
  private started = false;

  /** @internal Generations come from `generate`. */
  constructor(machinery: Machinery, promptTokens: readonly number[], options: GenerateOptions) {
    checkGenerateOptions(options, machinery.config);
    this.seed = seedOf(options.seed ?? 0);
    this.state = this.seed;
    this.promptTokens = promptTokens;
    this.tokens = [...promptTokens];
    this.machinery = machinery;
    this.options = options;
  }

  /** @throws Llama2Error E_USAGE the second time */
  [Symbol.asyncIterator](): AsyncGenerator<string, void> {
    this.begin();
    return this.pieces();
  }

  /**
   * The same, as tokens: new ones only.
   * @internal
   */
  async *slices(): AsyncGenerator<Slice, void> {
    this.begin();
    yield* this.own();
  }

  /**
   * A text for each seed, told at once where the backend can; slices of different texts come mingled. One that fails
   * does not end the others; its error is thrown when they have ended.
   * @internal
   */
  async *stories(seeds: readonly bigint[]): AsyncGenerator<Slice, void> {
    this.begin();
    yield* this.sequences(seeds);
  }

  private begin(): void {
    if (this.started) usage("a generation can be iterated once: call generate again");
    this.started = true;
  }

  private async *pieces(): AsyncGenerator<string, void> {
    const text = new TextStream(this.machinery.tokenizer(), this.promptTokens[this.promptTokens.length - 1]);
    for await (const { tokens, logprobs } of this.own()) {
      const first = this.tokens.length - tokens.length;
      let piece = "";
      for (const [i, id] of tokens.entries()) {
        this.options.onToken?.({ id, position: first + i, logprob: logprobs?.[i] ?? NaN });
        piece += text.push(id);
      }
      if (piece !== "") yield piece;
    }
    const rest = text.end();
    if (rest !== "") yield rest;
  }

  /** The slices of the one text that is told. */
  private async *own(): AsyncGenerator<Slice, void> {
    const { best = 1, temperature = 1 } = this.options;
    const slices = best > 1 && temperature !== 0 ? this.choose(best) : this.sequences([this.seed]);
    for await (const slice of slices) {
      this.tokens.push(...slice.tokens);
      if (slice.state !== undefined) this.state = slice.state;
      if (slice.ended === "stop" || slice.ended === "length") this.finishReason = slice.ended;
      yield slice;
    }
  }

  /** Write `count` texts, and yield the best as one slice. */
  private async *choose(count: number): AsyncGenerator<Slice, void> {
    const seeds = Array.from({ length: count }, (_, k) => nextSeed(this.seed, k));
    const texts = seeds.map((_, sequence): Required<Omit<Slice, "logits" | "details" | "error" | "timings">> => {
      return { sequence, tokens: [], logprobs: [], ended: "length", state: 0n };
    });
    let done = 0;
    for await (const { sequence, tokens, logprobs = [], ended, state } of this.sequences(seeds)) {
      const text = texts[sequence];
      text.tokens.push(...tokens);
      text.logprobs.push(...logprobs);
      if (!ended) continue;
      Object.assign(text, { ended, state });
      this.options.onProgress?.(++done, count);
    }
    this.candidates = texts.map(({ tokens, logprobs, ended }, k) => {
      const candidate: BestCandidate = { seed: seeds[k], ended: ended === "stop", tokens };
      if (tokens.length > 0) candidate.meanLogprob = logprobs.reduce((sum, logprob) => sum + logprob) / tokens.length;
      return candidate;
    });
    const chosen = bestOf(this.candidates);
    this.seed = seeds[chosen];
    yield texts[chosen];
  }

  private async *sequences(seeds: readonly bigint[]): AsyncGenerator<Slice, void> {
    const { client, config, loadMs } = this.machinery;
    const { temperature = 1, topP = 0.9, maxTokens = config.seqLen, stops = [BOS, EOS] } = this.options;
    const { signal, onToken, best = 1 } = this.options;
    const tokens = this.promptTokens;
    const requests = seeds.map((state): SequenceRequest => {
      return {
        tokens,
        maxTokens: Math.min(maxTokens, Math.max(0, config.seqLen + 1 - tokens.length)),
        stops,
        sampling: { temperature, topP, state },
        want: onToken || best > 1 ? "logprobs" : "tokens",
      };
    });
    let failure: Llama2Error | Error | undefined;
    for await (const { slices, timings } of client.request(requests, signal).reports) {
      this.timings = { loadMs, ...timings };
      for (const slice of slices) {
        if (slice.error) failure ??= revive(slice.error);
        yield slice;
      }
    }
    if (failure) throw failure;
  }
}

/** Which candidate is told. */
function bestOf(candidates: readonly BestCandidate[]): number {
  const anyEnded = candidates.some(({ ended, tokens }) => ended && tokens.length > 0);
  let best = 0;
  let highest = -Infinity;
  for (const [k, { ended, meanLogprob = -Infinity }] of candidates.entries()) {
    if (meanLogprob > highest && (ended || !anyEnded)) [best, highest] = [k, meanLogprob];
  }
  return best;
}

/** The seed of text k: the first seed plus k, wrapped at 2^64, where 0 is no seed and is skipped. */
export function nextSeed(first: bigint, k: number): bigint {
  const seed = first + BigInt(k);
  return seed < 2n ** 64n ? seed : seed - 2n ** 64n + 1n;
}

/** @throws Llama2Error E_USAGE */
function checkGenerateOptions(options: GenerateOptions, { vocabSize }: Readonly<Config>): void {
  checkOptions("generate", options, OPTIONS);
  const { temperature = 1, topP = 0.9, maxTokens = 0, stops = [], best = 1 } = options;
  if (typeof temperature !== "number" || !(temperature >= 0 && temperature < Infinity)) {
    usage(`temperature is ${show(temperature)}, expected a number from 0 on`);
  }
  if (typeof topP !== "number" || !(topP >= 0 && topP <= 1)) {
    usage(`topP is ${show(topP)}, expected a number from 0 to 1`);
  }
  checkWhole("maxTokens", maxTokens, 0, 2 ** 53 - 1);
  checkWhole("best", best, 1, 64);
  if (!Array.isArray(stops)) usage(`stops is ${show(stops)}, expected an array of tokens`);
  for (const token of stops) checkWhole("a token of stops", token, 0, vocabSize - 1);
  checkSignal(options.signal);
  checkFunction("onToken", options.onToken);
  checkFunction("onProgress", options.onProgress);
}

/**
 * A seed as the generator's first state, which must not be 0. The clock's seeds stay below 2^31, so that run.c,
 * whose atoi reads no more, can be given the same.
 */
function seedOf(seed: number | bigint): bigint {
  if (typeof seed !== "bigint" && !Number.isSafeInteger(seed)) {
    usage(`seed is ${show(seed)}, expected a whole number; large ones as bigint`);
  }
  const wide = BigInt(seed);
  if (wide < -(2n ** 63n) || wide >= 2n ** 64n) usage(`seed is ${seed}, expected -2^63 to 2^64-1`);
  return wide === 0n ? BigInt(Date.now() % 2 ** 31 || 1) : BigInt.asUintN(64, wide);
}
