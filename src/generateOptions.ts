/*
 * How a text is to be generated, and whether that makes sense.
 */
import { checkFunction, checkOptions, checkSignal, checkWhole, show, usage } from "./check.ts";
import { BOS, EOS } from "./llama2/tokenizer.ts";
import type { Config } from "./llama2/transformer.ts";
import type { Alternative, Sampling } from "./run/protocol.ts";

export interface GenerateOptions {
  /** 0: always the likeliest token; 1: the model's own probabilities; above: bolder. @default 1 */
  temperature?: number;
  /** Draw only from the likeliest tokens that together have this probability. 0 and 1 switch it off. @default 0.9 */
  topP?: number;
  /** Draw only from this many of the likeliest tokens. 0 switches it off. @default 0 */
  topK?: number;
  /**
   * Draw only from tokens whose probability is at least this share of the likeliest one's, before the temperature. 0
   * switches it off. @default 0
   */
  minP?: number;
  /**
   * Makes tokens that the sequence has already, prompt included, less likely: a positive logit is divided by it, any
   * other multiplied. 1 switches it off. @default 1
   */
  repetitionPenalty?: number;
  /** The same seed gives the same text. A whole number, -2^63 to 2^64-1; 0 or absent: the clock. */
  seed?: number | bigint;
  /** The most new tokens. @default until the context is full */
  maxTokens?: number;
  /** Strings and tokens that end the text, and are not part of it. @example ["\n\n", "User:"] */
  stop?: string | number | readonly (string | number)[];
  /** Whether BOS and EOS end the text: models write them at the end of one. @default true */
  eos?: boolean;
  /** Whether the text begins with the prompt. @default false */
  echo?: boolean;
  /** Report how each token was chosen, and this many alternatives: 0 to 20. @default no report */
  logprobs?: number;
  /**
   * Generate this many texts at once, with the seeds `seed`, `seed` + 1, ..., and yield only the best: of those that ended
   * by themselves (of all, if none did) the one with the highest mean log-probability of a token. 1 to 64; at temperature
   * 0 it is 1. Nothing is yielded before the choice. @default 1
   */
  best?: number;
  /** With `best`, called when a text ends: how many have ended, and of how many. */
  onProgress?: (ended: number, of: number) => void;
  /** Stops at the next token; the loop then throws the signal's reason. */
  signal?: AbortSignal;
  /** Called for each new token, before the text it completes is yielded. */
  onToken?: (token: Token) => void;
}

export const GENERATE_OPTIONS: readonly (keyof GenerateOptions)[] = [
  "temperature",
  "topP",
  "topK",
  "minP",
  "repetitionPenalty",
  "seed",
  "maxTokens",
  "stop",
  "eos",
  "echo",
  "logprobs",
  "best",
  "onProgress",
  "signal",
  "onToken",
];

/** One token of a text. */
export interface Token {
  id: number;
  /** Where in the sequence it stands; the first prompt token is at 0. */
  position: number;
  /** Natural logarithm of its probability, from the raw logits: before temperature and all else. */
  logprob: number;
  /** With `logprobs`: how many tokens were likelier. Of equally likely ones the lower id comes first. */
  rank?: number;
  /** With `logprobs`: from how many tokens it was drawn, after top-k, min-p and top-p. Absent for tokens that were read. */
  nucleus?: number;
  /** With `logprobs`: the random number that chose it, in [0, 1). Absent at temperature 0. */
  coin?: number;
  /** With `logprobs`: the likeliest tokens, the likeliest first. */
  top?: Alternative[];
}

/**
 * The token that ends texts as `stop` and `eos` say, and the strings.
 */
export function stopsOf({ stop = [], eos = true }: GenerateOptions): { tokens: number[]; strings: string[] } {
  const all = typeof stop === "object" ? stop : [stop];
  const strings = all.filter((each) => typeof each === "string");
  const tokens = all.filter((each) => typeof each === "number");
  return { tokens: [...new Set([...(eos ? [BOS, EOS] : []), ...tokens])], strings };
}

/** The options that the sampler needs; those that are off are absent. */
export function samplingOf(options: GenerateOptions, state: bigint): Sampling {
  const { temperature = 1, topP = 0.9, topK = 0, minP = 0, repetitionPenalty = 1 } = options;
  const sampling: Sampling = { temperature, topP, state };
  if (topK > 0) sampling.topK = topK;
  if (minP > 0) sampling.minP = minP;
  if (repetitionPenalty !== 1) sampling.repetitionPenalty = repetitionPenalty;
  return sampling;
}

/** The options that say how tokens are chosen. */
export function samplingOptions(options: GenerateOptions): GenerateOptions {
  const { temperature, topP, topK, minP, repetitionPenalty, seed } = options;
  return { temperature, topP, topK, minP, repetitionPenalty, seed };
}

/**
 * @param what takes the options, for messages
 * @param known the options it has
 * @throws Llama2Error E_USAGE
 */
export function checkGenerateOptions(
  options: GenerateOptions,
  { vocabSize }: Readonly<Config>,
  what = "generate",
  known: readonly string[] = GENERATE_OPTIONS,
): void {
  checkOptions(what, options, known);
  const { temperature = 1, topP = 0.9, topK = 0, minP = 0, repetitionPenalty = 1 } = options;
  if (typeof temperature !== "number" || !(temperature >= 0 && temperature < Infinity)) {
    usage(`temperature is ${show(temperature)}, expected a number from 0 on`);
  }
  checkShare("topP", topP);
  checkShare("minP", minP);
  checkWhole("topK", topK, 0, 2 ** 31 - 1);
  if (typeof repetitionPenalty !== "number" || !(repetitionPenalty > 0 && repetitionPenalty < Infinity)) {
    usage(`repetitionPenalty is ${show(repetitionPenalty)}, expected a number above 0`);
  }
  const { maxTokens = 0, best = 1, logprobs = 0, eos = true, echo = false } = options;
  checkWhole("maxTokens", maxTokens, 0, 2 ** 53 - 1);
  checkWhole("best", best, 1, 64);
  checkWhole("logprobs", logprobs, 0, 20);
  checkBoolean("eos", eos);
  checkBoolean("echo", echo);
  checkStop(options.stop, vocabSize);
  checkSignal(options.signal);
  checkFunction("onToken", options.onToken);
  checkFunction("onProgress", options.onProgress);
}

function checkShare(what: string, value: unknown): void {
  if (typeof value === "number" && value >= 0 && value <= 1) return;
  usage(`${what} is ${show(value)}, expected a number from 0 to 1`);
}

function checkBoolean(what: string, value: unknown): void {
  if (typeof value !== "boolean") usage(`${what} is ${show(value)}, expected true or false`);
}

/** More than anybody needs, and few enough to look for after each token. */
const MAX_STOPS = 64;

function checkStop(stop: GenerateOptions["stop"], vocabSize: number): void {
  if (stop === undefined) return;
  const all = Array.isArray(stop) ? stop : [stop];
  if (all.length > MAX_STOPS) usage(`there are ${all.length} of stop, expected at most ${MAX_STOPS}`);
  for (const each of all) {
    if (each === "") usage(`a string of stop is empty, and would end every text`);
    if (typeof each === "number") checkWhole("a token of stop", each, 0, vocabSize - 1);
    else if (typeof each !== "string") usage(`stop is ${show(each)}, expected strings and tokens`);
  }
}

/**
 * A seed as the generator's first state, which must not be 0. The clock's seeds stay below 2^31, so that run.c,
 * whose atoi reads no more, can be given the same.
 */
export function seedOf(seed: number | bigint): bigint {
  if (typeof seed !== "bigint" && !Number.isSafeInteger(seed)) {
    usage(`seed is ${show(seed)}, expected a whole number; large ones as bigint`);
  }
  const wide = BigInt(seed);
  if (wide < -(2n ** 63n) || wide >= 2n ** 64n) usage(`seed is ${seed}, expected -2^63 to 2^64-1`);
  return wide === 0n ? BigInt(Date.now() % 2 ** 31 || 1) : BigInt.asUintN(64, wide);
}

/** The seed of text k: the first seed plus k, wrapped at 2^64, where 0 is no seed and is skipped. */
export function nextSeed(first: bigint, k: number): bigint {
  const seed = first + BigInt(k);
  return seed < 2n ** 64n ? seed : seed - 2n ** 64n + 1n;
}
