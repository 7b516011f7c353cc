/*
 * What a sequence gets when it is alone: a plain loop over the reference's forward and sample. The oracle of the scheduler.
 */
import { buildSampler, sample } from "../../src/llama2/sampler.ts";
import { forward, mallocRunState, type Transformer } from "../../src/llama2/transformer.ts";
import { logSumExp } from "../../src/run/logits.ts";
import type { SequenceRequest } from "../../src/run/protocol.ts";

export interface Outcome {
  tokens: number[];
  logprobs: number[];
  rows: Float32Array[];
  ended: "stop" | "length";
  state: bigint | undefined;
}

export function plainLoop(model: Transformer, request: SequenceRequest): Outcome {
  const { tokens: prompt, maxTokens, stops, sampling, want, skip = 0 } = request;
  const { config } = model;
  const transformer = { ...model, state: mallocRunState(config) };
  const outcome: Outcome = { tokens: [], logprobs: [], rows: [], ended: "length", state: sampling?.state };
  const tell = (logits: Float32Array, next: number) => {
    if (want === "logprobs") outcome.logprobs.push(logits[next] - logSumExp(logits));
    if (want === "logits") outcome.rows.push(logits.slice());
  };
  if (!sampling) {
    const end = want === "logits" ? prompt.length : prompt.length - 1;
    for (let pos = 0; pos < end; pos++) {
      const logits = forward(transformer, prompt[pos], pos);
      if (pos >= skip) tell(logits, prompt[pos + 1]);
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
    token = sample(sampler, logits);
    outcome.state = sampler.rngState;
    if (stops.includes(token)) return { ...outcome, ended: "stop" };
    outcome.tokens.push(token);
    tell(raw, token);
  }
  return outcome;
}
