/*
 * What run.c's sampler does not have: repetition penalty, top-k, min-p, and a report of how a token was chosen.
 *
 * A copy of the logits is narrowed to the tokens that may be chosen, and run.c's sampler (llama2/sampler.ts) chooses from
 * these: it always does temperature, top-p and the random number. With all options off, none of this code runs.
 */
import { f32 } from "../llama2/math.ts";
import { FLT_MIN, randomF32, type Sampler, sample } from "../llama2/sampler.ts";
import { softmax } from "../llama2/transformer.ts";
import { logSumExp } from "./logits.ts";
import type { Alternative, Sampling, TokenDetails } from "./protocol.ts";

/** Tokens that may be chosen, lowest first, and their logits. Without `ids`: all tokens. */
interface Narrowed {
  ids?: Uint32Array;
  logits: Float32Array; // a copy
}

/** Whether `sampling` asks for more than run.c's sampler has. */
export function asksForMore({ topK = 0, minP = 0, repetitionPenalty = 1 }: Sampling): boolean {
  return topK > 0 || minP > 0 || repetitionPenalty !== 1;
}

/**
 * Choose a token as `sampling` says. It draws a random number only where run.c's sampler draws one.
 * @param tokens of the sequence so far, prompt included, which `repetitionPenalty` makes less likely
 * @param logits raw and finite; they stay as they are
 */
export function choose(sampler: Sampler, sampling: Sampling, tokens: readonly number[], logits: Float32Array): number {
  const narrowed = narrow(sampling, tokens, logits);
  const { ids } = narrowed;
  const among: Sampler = { ...sampler, vocabSize: narrowed.logits.length };
  const chosen = sample(among, narrowed.logits);
  sampler.rngState = among.rngState;
  return ids ? ids[chosen] : chosen;
}

/**
 * First the repetition penalty: the logits of tokens that the sequence has already are divided by it if positive, and
 * multiplied by it if not. Then top-k, then min-p, both before the temperature.
 */
function narrow(sampling: Sampling, tokens: readonly number[], logits: Float32Array): Narrowed {
  const { topK = 0, minP = 0, repetitionPenalty = 1 } = sampling;
  const copy = logits.slice();
  if (repetitionPenalty !== 1) {
    for (const token of new Set(tokens)) {
      copy[token] = copy[token] > 0 ? copy[token] / repetitionPenalty : copy[token] * repetitionPenalty;
    }
  }
  const limit = topK > 0 ? Math.min(topK, copy.length) : copy.length;
  let ids = limit < copy.length ? largest(copy, limit) : undefined;
  if (minP > 0) {
    const least = copy.reduce((a, b) => Math.max(a, b), -Infinity) + Math.log(minP);
    ids = (ids ?? Uint32Array.from(copy, (_, id) => id)).filter((id) => copy[id] >= least);
  }
  if (!ids) return { logits: copy };
  ids.sort();
  return { ids, logits: Float32Array.from(ids, (id) => copy[id]) };
}

/** The ids of the `count` largest logits, the largest first; on a tie, lower ids come first. */
function largest(logits: Float32Array, count: number): Uint32Array {
  const ids = Uint32Array.from(logits, (_, id) => id);
  return ids.sort((a, b) => logits[b] - logits[a] || a - b).slice(0, count);
}

/** The likeliest tokens by raw logits, the likeliest first, with their natural log-probabilities. */
export function likeliest(logits: Float32Array, count: number): Alternative[] {
  const total = logSumExp(logits);
  return Array.from(largest(logits, count), (id) => ({ id, logprob: logits[id] - total }));
}

/** How `token` was chosen, besides what the raw logits say of it. */
export interface Draw {
  sampler: Sampler; // with the state before the draw
  sampling: Sampling;
  tokens: readonly number[]; // of the sequence before it
}

/**
 * How `token` was chosen: its rank and alternatives by the raw `logits`, and the draw.
 * @param top how many alternatives
 * @param draw absent: it was read, not chosen
 */
export function detailsOf(logits: Float32Array, token: number, top: number, draw?: Draw): TokenDetails {
  let rank = 0;
  for (let id = 0; id < logits.length; id++) {
    if (logits[id] > logits[token] || (logits[id] === logits[token] && id < token)) rank++;
  }
  const details: TokenDetails = { rank, top: top > 0 ? likeliest(logits, top) : [] };
  if (!draw) return details;
  const { sampler, sampling, tokens } = draw;
  details.nucleus = nucleusOf(sampler, narrow(sampling, tokens, logits).logits);
  if (sampler.temperature !== 0) details.coin = randomF32({ ...sampler });
  return details;
}

/** From how many tokens the sampler draws: those that top-k, min-p and top-p leave. */
function nucleusOf({ temperature, topp }: Sampler, logits: Float32Array): number {
  const max = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  if (temperature < FLT_MIN || !Number.isFinite(f32(max / temperature))) return 1; // the likeliest
  if (topp <= 0 || topp >= 1) return logits.length;
  const probabilities = logits.map((logit) => logit / temperature);
  softmax(probabilities, probabilities.length);
  probabilities.sort().reverse();
  let sum = 0;
  for (let i = 0; i < probabilities.length; i++) {
    sum = f32(sum + probabilities[i]);
    if (sum > topp) return i + 1;
  }
  return probabilities.length;
}
