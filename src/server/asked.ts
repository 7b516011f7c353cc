/*
 * The fields that completions and chats have in common: how to sample, and how to answer.
 */
import { show } from "../check.ts";
import { type GenerateOptions, seedOf } from "../generateOptions.ts";
import type { Fields } from "./body.ts";
import { badValue } from "./errors.ts";

/** The most choices of one request, over all its prompts. */
export const MAX_CHOICES = 128;

export interface Asked {
  /** The model's id; undefined: the first one. */
  model: string | undefined;
  options: GenerateOptions;
  /** The seed of the first choice of each prompt; choice i has this + i. */
  seed: bigint;
  /** How many choices for each prompt. */
  n: number;
  stream: boolean;
  /** Whether a stream ends with a usage object. */
  includeUsage: boolean;
  receipt: boolean;
}

/** Fields that OpenAI's clients send and that change nothing here. */
export const IGNORED = ["user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"];

/**
 * @param logprobs how many alternatives for each token; undefined: no log-probabilities
 * @throws HttpError 400
 */
export function readAsked(fields: Fields, maxTokens: number | undefined, logprobs: number | undefined): Asked {
  const options: GenerateOptions = {
    temperature: fields.number("temperature", 1, 0, 1e9),
    topP: fields.number("top_p", 1, 0, 1),
    topK: fields.whole("top_k", 0, 2 ** 31 - 1),
    minP: fields.number("min_p", 0, 0, 1),
    repetitionPenalty: fields.number("repetition_penalty", 1, 1e-3, 1e3),
    stop: fields.texts("stop"),
    maxTokens,
    logprobs,
  };
  for (const name of ["presence_penalty", "frequency_penalty"]) fields.without(name, 0);
  fields.without("logit_bias");
  const stream = fields.boolean("stream");
  const streamOptions = fields.object("stream_options");
  const includeUsage = streamOptions.include_usage === true;
  return {
    model: fields.text("model"),
    options,
    seed: seedFrom(fields),
    n: fields.whole("n", 1, MAX_CHOICES) ?? 1,
    stream,
    includeUsage,
    receipt: fields.boolean("receipt"),
  };
}

/** A seed: a whole number, or text for those too large for a JSON number. */
function seedFrom(fields: Fields): bigint {
  const value = fields.get("seed") ?? 0;
  const isText = typeof value === "string" && /^-?\d{1,20}$/.test(value);
  if (!isText && !Number.isSafeInteger(value)) {
    badValue("seed", `seed is ${show(value)}, expected a whole number, a large one as text`);
  }
  try {
    return seedOf(BigInt(value as number | string));
  } catch (error) {
    badValue("seed", (error as Error).message);
  }
}
