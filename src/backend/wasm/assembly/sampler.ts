/*
 * The sampler of llama2/sampler.ts, bit for bit. The random number (the coin) comes from there, with the generator.
 */
import { rowBytes } from "./matmul";
import { probindex, vocabSize } from "./model";
import { largestLane, padWithMinusInfinity, softmax } from "./transformer";

/** The smallest float32 that keeps its full precision. */
const FLT_MIN: f32 = 1.1754943508222875e-38;

/** run.c 590: sample_argmax. The index of the highest probability; the lowest such index on a tie. */
function sampleArgmax(probabilities: usize, n: i32): i32 {
  let max = v128.load_splat<f32>(probabilities);
  for (let i: usize = 0; i < rowBytes(n); i += 16) {
    max = f32x4.pmax(max, v128.load(probabilities + i));
  }
  const maxP = largestLane(max);
  for (let i = 0; i < n; i++) {
    if (load<f32>(probabilities + (i << 2)) === maxP) return i;
  }
  return 0; // the first is NaN, and nothing is larger than NaN
}

/** run.c 603: sample_mult. The first index whose running sum exceeds the coin. */
function sampleMult(probabilities: usize, n: i32, coin: f32): i32 {
  let cdf: f32 = 0;
  for (let i = 0; i < n; i++) {
    cdf += load<f32>(probabilities + (i << 2));
    if (coin < cdf) return i;
  }
  return n - 1; // in case of rounding errors
}

/**
 * run.c 624: sample_topp. A candidate is one 64-bit number. Its upper half has the bits of the probability, which sort
 * like the positive floats; its lower half has the index with all bits inverted. So the largest number is the likeliest
 * candidate, and on a tie the one with the lowest index. Few of them are needed, so they are not sorted but taken from a
 * heap one by one.
 */
function sampleTopp(probabilities: usize, n: i32, topp: f32, coin: f32): i32 {
  const n0 = collectCandidates(probabilities, n, (<f32>1 - topp) / <f32>(n - 1));
  if (n0 === 0) return sampleArgmax(probabilities, n);
  for (let i = n0 / 2 - 1; i >= 0; i--) siftDown(i, n0);

  // truncate the list where the cumulative probability exceeds topp; taken candidates go to the end, the last one first
  let cumulativeProb: f32 = 0;
  let taken = 0;
  while (taken < n0 && cumulativeProb <= topp) {
    taken++;
    const best = candidate(0);
    setCandidate(0, candidate(n0 - taken));
    siftDown(0, n0 - taken);
    setCandidate(n0 - taken, best);
    cumulativeProb += probabilityOf(best);
  }

  // sample from the truncated list
  const r = coin * cumulativeProb;
  let cdf: f32 = 0;
  for (let i = 1; i <= taken; i++) {
    cdf += probabilityOf(candidate(n0 - i));
    if (r < cdf) return indexOf(candidate(n0 - i));
  }
  return indexOf(candidate(n0 - taken)); // in case of rounding errors
}

/** Probabilities below the cutoff cannot be part of the result. Returns how many are left. */
function collectCandidates(probabilities: usize, n: i32, cutoff: f32): i32 {
  let n0 = 0;
  for (let i = 0; i < n; i++) {
    const bits = load<u32>(probabilities + (i << 2));
    if (reinterpret<f32>(bits) >= cutoff) setCandidate(n0++, ((<u64>bits) << 32) | <u64>(<u32>~i));
  }
  return n0;
}

function candidate(i: i32): u64 {
  return load<u64>(probindex + (i << 3));
}
function setCandidate(i: i32, value: u64): void {
  store<u64>(probindex + (i << 3), value);
}
function probabilityOf(candidate: u64): f32 {
  return reinterpret<f32>(<u32>(candidate >> 32));
}
function indexOf(candidate: u64): i32 {
  return ~(<i32>candidate);
}

/** Move the candidate at i down, until the first n are a heap again. */
function siftDown(i: i32, n: i32): void {
  const sinking = candidate(i);
  for (let child = 2 * i + 1; child < n; child = 2 * i + 1) {
    if (child + 1 < n && candidate(child + 1) > candidate(child)) child++;
    if (candidate(child) <= sinking) break;
    setCandidate(i, candidate(child));
    i = child;
  }
  setCandidate(i, sinking);
}

/** Whether all of n numbers are finite: then each minus itself is 0. */
function allFinite(x: usize, n: i32): bool {
  let zeros = f32x4.splat(0);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const v = v128.load(x + (i << 2));
    zeros = f32x4.add(zeros, f32x4.sub(v, v));
  }
  let zero = f32x4.extract_lane(zeros, 0) + f32x4.extract_lane(zeros, 1);
  zero += f32x4.extract_lane(zeros, 2) + f32x4.extract_lane(zeros, 3);
  for (; i < n; i++) zero += load<f32>(x + (i << 2)) - load<f32>(x + (i << 2));
  return zero === 0;
}

/**
 * run.c 691: sample. Choose the next token from `logits`, which are overwritten. `coin` is used above temperature 0.
 * Logits that are not all finite stay as they are, and the result is -1.
 */
export function sample(logits: usize, temperature: f32, topp: f32, coin: f32): i32 {
  if (!allFinite(logits, vocabSize)) return -1;
  padWithMinusInfinity(logits, vocabSize);
  const greedy = sampleArgmax(logits, vocabSize);
  // greedy argmax sampling, also where the division below would overflow
  const largest = load<f32>(logits + (greedy << 2)) / temperature;
  if (temperature < FLT_MIN || !(abs<f32>(largest) < Infinity)) return greedy;
  // apply the temperature to the logits
  const divisor = f32x4.splat(temperature);
  for (let i: usize = 0; i < rowBytes(vocabSize); i += 16) {
    v128.store(logits + i, f32x4.div(v128.load(logits + i), divisor));
  }
  // apply softmax to the logits to get the probabilities for the next token
  softmax(logits, vocabSize);
  // we sample from this distribution to get the next token
  if (topp <= 0 || topp >= 1) return sampleMult(logits, vocabSize, coin);
  return sampleTopp(logits, vocabSize, topp, coin);
}
