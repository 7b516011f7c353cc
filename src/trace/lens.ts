/*
 * Reads x before the end: what the model would predict if it stopped at a layer, and which parts wrote a logit. Runs in
 * browsers.
 */
import { checkWhole } from "../check.ts";
import { headSizeOf, matmul, rmsnorm } from "../llama2/transformer.ts";
import { rowOf } from "./explain.ts";
import { checkPlace, checkRun, type TracedRun } from "./run.ts";
import { type Place, placesOf } from "./stops.ts";

/**
 * The logits that the final norm and the classifier make of x at a stop: the logit lens. At the last residual they are
 * the model's own, bit for bit.
 */
export function lensAt(run: TracedRun, pos: number, place: Place): Float32Array {
  checkRun(run);
  checkPlace(place);
  const { config, weights } = run.transformer;
  const x = run.values(pos, place).slice();
  const logits = new Float32Array(config.vocabSize);
  rmsnorm(x, x, weights.rmsFinalWeight, config.normEps);
  matmul(logits, x, weights.wcls);
  return logits;
}

/** The stops that write x. */
export const residualsOf = (nLayers: number): Place[] =>
  placesOf(nLayers).filter(({ id }) => id === "embed" || id === "res1" || id === "res2");

/** A part of the model, and how much of a logit it has written. */
export interface Share {
  /** "embed", "L2.H5", "L2.ffn" */
  name: string;
  layer: number;
  head?: number;
  value: number;
}

/**
 * Which parts of the model wrote a logit, and how much. The logit is a dot product with x, and x is the sum of what the
 * embedding, each head and each feed-forward network wrote, so it splits into their shares (in float64).
 * @returns the shares, and the rounding error of float32 that remains between their sum and the logit
 */
export function sharesOf(
  run: TracedRun,
  pos: number,
  token: number,
): { shares: Share[]; logit: number; residue: number } {
  checkRun(run);
  checkWhole("token", token, 0, run.transformer.config.vocabSize - 1);
  const { config, weights } = run.transformer;
  const { dim, nLayers, nHeads, normEps } = config;
  const size = headSizeOf(config);
  const last = run.values(pos, { id: "res2", layer: nLayers - 1 });
  const rms = Math.sqrt(last.reduce((sum, value) => sum + value * value, 0) / dim + normEps);
  const row = rowOf(weights.wcls, token, dim);
  // the weight of each number of x in this logit
  const u = Float64Array.from(row, (value, j) => (value * weights.rmsFinalWeight[j]) / rms);
  const dot = (x: Float32Array) => x.reduce((sum, value, j) => sum + value * u[j], 0);

  const shares: Share[] = [{ name: "embed", layer: -1, value: dot(run.values(pos, { id: "embed", layer: -1 })) }];
  for (let layer = 0; layer < nLayers; layer++) {
    const mix = run.values(pos, { id: "mix", layer });
    // how much each number of mix contributes to this logit, through wo
    const through = new Float64Array(dim);
    for (let j = 0; j < dim; j++) {
      const wo = rowOf(weights.wo[layer], j, dim);
      for (let i = 0; i < dim; i++) through[i] += u[j] * wo[i];
    }
    for (let head = 0; head < nHeads; head++) {
      let value = 0;
      for (let i = head * size; i < (head + 1) * size; i++) value += mix[i] * through[i];
      shares.push({ name: `L${layer}.H${head}`, layer, head, value });
    }
    shares.push({ name: `L${layer}.ffn`, layer, value: dot(run.values(pos, { id: "down", layer })) });
  }
  const logit = run.values(pos, { id: "logits", layer: -1 })[token];
  return { shares, logit, residue: logit - shares.reduce((sum, { value }) => sum + value, 0) };
}

/** How far logits `b` have moved from `a`: the KL divergence of their softmaxes, in nats. */
export function divergence(a: Float32Array, b: Float32Array): number {
  const [p, q] = [logSoftmax(a), logSoftmax(b)];
  return p.reduce((sum, logp, i) => (logp === -Infinity ? sum : sum + Math.exp(logp) * (logp - q[i])), 0);
}

function logSoftmax(logits: Float32Array): Float64Array {
  const max = logits.reduce((a, b) => Math.max(a, b));
  const sum = logits.reduce((sum, value) => sum + Math.exp(value - max), 0);
  return Float64Array.from(logits, (value) => value - max - Math.log(sum));
}
