/*
 * The sampler: from logits to the next token. run.c's third part (574), in its order and its words.
 *
 * Logits are scores: the higher a token's logit, the likelier it comes next. Temperature 0 takes the highest, which
 * always gives the same text; otherwise a token is drawn at random, and a higher temperature makes unlikely tokens more
 * likely. Top-p draws only from the few likeliest tokens, which avoids nonsense at high temperatures.
 */
import { f32 } from "./math.ts";
import { softmax } from "./transformer.ts";

/** How to choose tokens, and the state of the random number generator. run.c 582. */
export interface Sampler {
  vocabSize: number;
  temperature: number; // 0: greedy; 1: the model's own probabilities
  topp: number; // the share of probability that top-p keeps; 0 and 1 switch it off
  rngState: bigint; // 64 bits, never 0
  probindex: Uint32Array; // (vocabSize) top-p's candidates
}

/** The smallest float32 that keeps its full precision. */
export const FLT_MIN = 2 ** -126;

/** run.c 590: sample_argmax. The index of the highest probability; the lowest such index on a tie. */
export function sampleArgmax(probabilities: Float32Array, n: number): number {
  let maxI = 0;
  let maxP = probabilities[0];
  for (let i = 1; i < n; i++) {
    if (probabilities[i] > maxP) {
      maxI = i;
      maxP = probabilities[i];
    }
  }
  return maxI;
}

/**
 * run.c 603: sample_mult. Lay the probabilities end to end along [0, 1) and return the one in which the coin, a
 * number in [0, 1), falls.
 */
export function sampleMult(probabilities: Float32Array, n: number, coin: number): number {
  let cdf = 0;
  for (let i = 0; i < n; i++) {
    cdf = f32(cdf + probabilities[i]);
    if (coin < cdf) {
      return i;
    }
  }
  return n - 1; // in case of rounding errors
}

/**
 * run.c 624: sample_topp. Draw from the smallest set of tokens whose probabilities sum to more than topp, the
 * "nucleus". The tail has thousands of tokens: each is unlikely, but together they are likely enough to derail a text.
 * C's qsort leaves the order of equal probabilities open; here the lower token comes first.
 */
export function sampleTopp(
  probabilities: Float32Array,
  n: number,
  topp: number,
  probindex: Uint32Array,
  coin: number,
): number {
  // values smaller than (1 - topp) / (n - 1) cannot be part of the result, so crop them before sorting
  const cutoff = f32(f32(1 - topp) / f32(n - 1));
  let n0 = 0;
  for (let i = 0; i < n; i++) {
    if (probabilities[i] >= cutoff) {
      probindex[n0++] = i;
    }
  }
  // All can be smaller if they are nearly equal and topp is tiny. run.c then reads past its array.
  if (n0 === 0) return sampleArgmax(probabilities, n);
  const candidates = probindex.subarray(0, n0);
  candidates.sort((a, b) => probabilities[b] - probabilities[a] || a - b);

  // truncate the list where the cumulative probability exceeds topp
  let cumulativeProb = 0;
  let lastIdx = n0 - 1; // in case of rounding errors consider all elements
  for (let i = 0; i < n0; i++) {
    cumulativeProb = f32(cumulativeProb + probabilities[candidates[i]]);
    if (cumulativeProb > topp) {
      lastIdx = i;
      break; // we've exceeded topp by including lastIdx
    }
  }

  // sample from the truncated list
  const r = f32(coin * cumulativeProb);
  let cdf = 0;
  for (let i = 0; i <= lastIdx; i++) {
    cdf = f32(cdf + probabilities[candidates[i]]);
    if (r < cdf) {
      return candidates[i];
    }
  }
  return candidates[lastIdx]; // in case of rounding errors
}

/** run.c 667: build_sampler. */
export function buildSampler(vocabSize: number, temperature: number, topp: number, rngSeed: bigint): Sampler {
  return {
    vocabSize,
    temperature: f32(temperature),
    topp: f32(topp),
    rngState: BigInt.asUintN(64, rngSeed),
    probindex: new Uint32Array(vocabSize),
  };
}

/** run.c 680: random_u32. The xorshift* generator: three shifts, one multiplication, the upper 32 bits. */
export function randomU32(sampler: Sampler): number {
  let state = sampler.rngState;
  state ^= state >> 12n;
  state = BigInt.asUintN(64, state ^ (state << 25n));
  state ^= state >> 27n;
  sampler.rngState = state;
  return Number(BigInt.asUintN(64, state * 0x2545f4914f6cdd1dn) >> 32n);
}

/** run.c 687: random_f32. A random float32 in [0, 1). */
export function randomF32(sampler: Sampler): number {
  return (randomU32(sampler) >>> 8) / 16777216;
}

/** run.c 691: sample. Choose the next token. The logits are overwritten: they become probabilities in place. */
export function sample(sampler: Sampler, logits: Float32Array): number {
  const { vocabSize, temperature, topp } = sampler;
  const greedy = sampleArgmax(logits, vocabSize);
  if (temperature === 0) {
    // greedy argmax sampling: take the token with the highest probability
    return greedy;
  }
  // flip a (float) coin (this is our source of entropy for sampling)
  const coin = randomF32(sampler);
  // If the temperature is denormal, or the division below overflows, run.c would go on with NaN. The limit for small
  // temperatures is greedy.
  if (temperature < FLT_MIN || !Number.isFinite(f32(logits[greedy] / temperature))) {
    return greedy;
  }
  // apply the temperature to the logits
  for (let q = 0; q < vocabSize; q++) {
    logits[q] /= temperature;
  }
  // apply softmax to the logits to get the probabilities for the next token
  softmax(logits, vocabSize);
  // we sample from this distribution to get the next token
  if (topp <= 0 || topp >= 1) {
    // simply sample from the predicted probability distribution
    return sampleMult(logits, vocabSize, coin);
  }
  // top-p (nucleus) sampling, clamping the least likely tokens to zero
  return sampleTopp(logits, vocabSize, topp, sampler.probindex, coin);
}
