/*
 * What a sequence gets when it is alone: a plain loop over the reference's forward and sample. The oracle of the scheduler.
 */
import { buildSampler, randomF32, sample } from "../../src/llama2/sampler.ts";
import { forward, mallocRunState, type Transformer } from "../../src/llama2/transformer.ts";
import { logSumExp } from "../../src/run/logits.ts";
import type { Sampling, SequenceRequest, TokenDetails } from "../../src/run/protocol.ts";

export interface Outcome {
  tokens: number[];
  logprobs: number[];
  details: TokenDetails[];
  rows: Float32Array[];
  ended: "stop" | "length";
  state: bigint | undefined;
}

export function plainLoop(model: Transformer, request: SequenceRequest): Outcome {
  const { tokens: prompt, maxTokens, stops, sampling, want, top, skip = 0 } = request;
  const { config } = model;
  const transformer = { ...model, state: mallocRunState(config) };
  const outcome: Outcome = { tokens: [], logprobs: [], details: [], rows: [], ended: "length", state: sampling?.state };
  const report = (logits: Float32Array, next: number, drawn: Pick<TokenDetails, "nucleus" | "coin"> = {}) => {
    if (want === "logprobs") outcome.logprobs.push(logits[next] - logSumExp(logits));
    if (want === "logprobs" && top !== undefined) {
      const order = byLogit(logits);
      const best = order.slice(0, top).map((id) => ({ id, logprob: logits[id] - logSumExp(logits) }));
      outcome.details.push({ rank: order.indexOf(next), top: best, ...drawn });
    }
    if (want === "logits") outcome.rows.push(logits.slice());
  };
  if (!sampling) {
    const end = want === "logits" ? prompt.length : prompt.length - 1;
    for (let pos = 0; pos < end; pos++) {
      const logits = forward(transformer, prompt[pos], pos);
      if (pos >= skip) report(logits, prompt[pos + 1]);
    }
    return outcome;
  }
  const sampler = buildSampler(config.vocabSize, sampling.temperature, sampling.topP, sampling.state);
  let token = prompt[0];
  for (let pos = 0; outcome.tokens.length < maxTokens; pos++) {
    const logits = forward(transformer, token, pos);
    if (pos + 1 < prompt.length) {
      token = prompt[pos + 1];
      continue;
    }
    const raw = logits.slice();
    const before = sampler.rngState;
    const allowed = narrowed(sampling, [...prompt, ...outcome.tokens], logits);
    const among = { ...sampler, vocabSize: allowed.length };
    const chosen = sample(
      among,
      Float32Array.from(allowed, ({ logit }) => logit),
    );
    token = allowed[chosen].id;
    sampler.rngState = among.rngState;
    outcome.state = sampler.rngState;
    if (stops.includes(token)) return { ...outcome, ended: "stop" };
    outcome.tokens.push(token);
    const coin = sampling.temperature === 0 ? {} : { coin: randomF32({ ...sampler, rngState: before }) };
    report(raw, token, { nucleus: nucleusOf(sampling, allowed), ...coin });
  }
  return outcome;
}

/** All tokens, the likeliest first; of equally likely ones the lower first. */
function byLogit(logits: ArrayLike<number>): number[] {
  return Array.from(logits, (_, id) => id).sort((a, b) => logits[b] - logits[a] || a - b);
}

interface Allowed {
  id: number;
  logit: number;
}

/** What repetition penalty, top-k and min-p leave, lowest id first: as their definitions have it, in no hurry. */
function narrowed(
  { repetitionPenalty, topK, minP }: Sampling,
  tokens: readonly number[],
  raw: Float32Array,
): Allowed[] {
  const logits = raw.slice();
  for (const [id, logit] of logits.entries()) {
    if (!tokens.includes(id) || repetitionPenalty === undefined) continue;
    logits[id] = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty;
  }
  const kept = byLogit(logits).slice(0, topK || logits.length);
  const likely = kept.filter((id) => !minP || logits[id] >= logits[kept[0]] + Math.log(minP));
  return likely.sort((a, b) => a - b).map((id) => ({ id, logit: logits[id] }));
}

/**
 * How many of them run.c's sampler may choose: with a coin near 1 it takes the last token of its nucleus. Between two
 * tokens of equal probability the order is by id.
 */
function nucleusOf({ temperature, topP }: Sampling, allowed: readonly Allowed[]): number {
  if (temperature === 0) return 1;
  if (topP === 0 || topP === 1) return allowed.length;
  const logits = Float32Array.from(allowed, ({ logit }) => logit);
  const order = byLogit(logits);
  const reached = NEAR_ONE.map((state) =>
    sample(buildSampler(allowed.length, temperature, topP, state), logits.slice()),
  );
  return Math.max(...reached.map((chosen) => order.indexOf(chosen))) + 1;
}

/** States of the generator whose next coin is nearly 1. */
const NEAR_ONE = findNearOne();
function findNearOne(): bigint[] {
  const found: bigint[] = [];
  const sampler = buildSampler(1, 1, 0, 1n);
  while (found.length < 4) {
    const state = sampler.rngState;
    if (randomF32(sampler) > 1 - 2 ** -14) found.push(state);
  }
  return found;
}
