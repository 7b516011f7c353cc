/*
 * Functions of raw logits, computed in float64.
 */
import { Llama2Error } from "../errors.ts";

/** log(sum of e^logit): the raw logits minus this are natural log-probabilities. */
export function logSumExp(logits: Float32Array): number {
  let max = -Infinity;
  for (const logit of logits) {
    if (logit > max) max = logit;
  }
  let sum = 0;
  for (const logit of logits) {
    sum += Math.exp(logit - max);
  }
  return max + Math.log(sum);
}

/** @throws Llama2Error E_NUMERIC if the logits of the token at `pos` are not all finite */
export function checkFinite(logits: Float32Array, pos: number): void {
  for (let i = 0; i < logits.length; i++) {
    if (!Number.isFinite(logits[i])) {
      throw new Llama2Error(
        "E_NUMERIC",
        `the model computed ${logits[i]} for token ${i} after position ${pos}: its weights are NaN, infinite or too large`,
      );
    }
  }
}
