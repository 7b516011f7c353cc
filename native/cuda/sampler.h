/*
 * The sampler of src/llama2/sampler.ts: the same logits and generator always give the same token.
 *
 * Reads vocabSize floats a few times, from L2. `softmaxTerms` spreads the exponentials, which are computed in double as
 * glibc does, over the device; `sampleToken`, one block per sequence, does the rest.
 *
 * The difficulty is the float32 sums, which the reference adds in token order and which must round the same way here.
 * While a running sum s stays between two powers of two, s is an integer number of ulps, and adding p adds p rounded to
 * whole ulps, whatever s is. The one exception is a tie, which rounds to the even sum and so depends on the parity of
 * s. A chunk of values therefore adds one integer if s is even and one if s is odd. All threads compute both for their
 * chunk, guessing the power of two; then one thread walks over the chunks, and adds value by value where the guess was
 * wrong or s crosses a power of two.
 */
#ifndef LLAMA2_CUDA_SAMPLER_H
#define LLAMA2_CUDA_SAMPLER_H

#include "classifier.h"
#include "draw.h"
#include "model.h"

namespace llama2::cuda {

constexpr int kSamplerThreads = 1024;

__constant__ uint64_t kExp2[32] = {0x3ff0000000000000, 0x3ff059b0d3158574, 0x3ff0b5586cf9890f, 0x3ff11301d0125b51,
                                   0x3ff172b83c7d517b, 0x3ff1d4873168b9aa, 0x3ff2387a6e756238, 0x3ff29e9df51fdee1,
                                   0x3ff306fe0a31b715, 0x3ff371a7373aa9cb, 0x3ff3dea64c123422, 0x3ff44e086061892d,
                                   0x3ff4bfdad5362a27, 0x3ff5342b569d4f82, 0x3ff5ab07dd485429, 0x3ff6247eb03a5585,
                                   0x3ff6a09e667f3bcd, 0x3ff71f75e8ec5f74, 0x3ff7a11473eb0187, 0x3ff82589994cce13,
                                   0x3ff8ace5422aa0db, 0x3ff93737b0cdc5e5, 0x3ff9c49182a3f090, 0x3ffa5503b23e255d,
                                   0x3ffae89f995ad3ad, 0x3ffb7f76f2fb5e47, 0x3ffc199bdd85529c, 0x3ffcb720dcef9069,
                                   0x3ffd5818dcfba487, 0x3ffdfc97337b9b5f, 0x3ffea4afa2a490da, 0x3fff50765b6e4540};

/* math.ts: expf. e^x = 2^(z/32) = 2^(k/32) * 2^(r/32), with k whole and r in [-1/2, 1/2]. */
__device__ __forceinline__ float expfExact(float x) {
  if (x > 88.72283172607422f) return INFINITY;
  if (x < -103.97207641601562f) return 0.0f;
  if (x != x) return x;
  constexpr double kRound = 6755399441055744;  // 1.5 * 2^52: adding it rounds to a whole number
  const double z = static_cast<double>(x) * 0x1.71547652b82fep+5;
  const double rounded = z + kRound;
  const double r = z - (rounded - kRound);
  const long long k = __double_as_longlong(rounded);  // its low bits
  const uint64_t whole = (static_cast<uint64_t>(k) - static_cast<uint64_t>(k & 31)) << 47;
  const double scale = __longlong_as_double(static_cast<long long>(kExp2[k & 31] + whole));
  const double p = (0x1.c6af84b912394p-5 / 32768) * r + (0x1.ebfce50fac4f3p-3 / 1024);
  return static_cast<float>((p * (r * r) + ((0x1.62e42ff0c52d6p-1 / 32) * r + 1.0)) * scale);
}

/* The best of an entry's candidates, (count). Every thread of the warp gets it. */
__device__ __forceinline__ uint64_t bestCandidate(const uint64_t* best, int count) {
  uint64_t found = 0;
  for (int i = laneOf(); i < count; i += 32) found = best[i] > found ? best[i] : found;
  return warpMax(found);
}

/* Whether the temperature is so close to 0 that sampling is greedy, as in the limit. */
__device__ __forceinline__ bool isGreedy(float temperature, float largest) {
  return temperature < 1.17549435e-38f || !(fabsf(largest / temperature) < INFINITY);
}

/* The best candidate of each block, as the classifier finds it, for logits that it did not compute. */
static __global__ void __launch_bounds__(kThreads) findBest(const float* logits,  // (vocabSize)
                                                            int vocabSize,
                                                            uint64_t* best) {  // (gridDim.x)
  uint64_t found = 0;
  const int start = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  for (int i = start; i < vocabSize; i += static_cast<int>(gridDim.x) * kThreads) {
    const uint64_t here = candidate(logits[i], i);
    if (here > found) found = here;
  }
  SHARED(uint64_t, bests, [kWarps]);
  found = warpMax(found);
  if (laneOf() == 0) bests[warpOf()] = found;
  __syncthreads();  // orders the writes of bests before the reads below
  if (threadIdx.x == 0) {
    for (int w = 1; w < kWarps; w++) found = bests[w] > found ? bests[w] : found;
    best[blockIdx.x] = found;
  }
}

/* terms = e^((logit - largest) / temperature), for the entries that are not greedy. Grid: (any, count). */
static __global__ void __launch_bounds__(kThreads) softmaxTerms(const float* logits,  // (count, vocabSize)
                                                                int vocabSize,
                                                                const uint64_t* best,  // (count, bestCount)
                                                                int bestCount,
                                                                const Draw* draws,  // (count)
                                                                float* terms) {     // (count, vocabSize)
  letNextKernelStart();
  waitForPreviousKernel();
  const int entry = static_cast<int>(blockIdx.y);
  const size_t row = static_cast<size_t>(entry) * vocabSize;
  const float temperature = draws[entry].temperature;
  const float largest = logits[row + tokenOf(bestCandidate(best + static_cast<size_t>(entry) * bestCount, bestCount))];
  if (isGreedy(temperature, largest)) return;
  const int start = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  for (int i = start; i < vocabSize; i += static_cast<int>(gridDim.x) * kThreads) {
    terms[row + i] = expfExact(logits[row + i] / temperature - largest / temperature);
  }
}

/* Where a sequential float32 sum of non-negative values first exceeds a limit, and the sum at that point. */
struct RunningSum {
  int index;  // -1: it never does
  float sum;  // up to index, or of all values
};

/* What a chunk adds to a running sum whose biased exponent is `exponent`. */
struct Increment {
  int exponent;   // 0: unknown
  unsigned even;  // ulps, if the sum is an even number of ulps
  unsigned odd;   // ulps, if it is odd
};

/* `before` and `after` estimate the sum at both ends of the chunk. */
__device__ __forceinline__ Increment incrementOf(const float* values,  // (count)
                                                 int count, float before, float after) {
  Increment result = {static_cast<int>(__float_as_uint(before) >> 23), 0, 1};
  // both ends must have the same exponent, and 1 / ulp must be a normal float32
  if (result.exponent != static_cast<int>(__float_as_uint(after) >> 23) || result.exponent < 40 ||
      result.exponent > 200) {
    return {0, 0, 0};
  }
  const float ulps = __uint_as_float(static_cast<unsigned>(127 + 150 - result.exponent) << 23);  // 1 / ulp
  for (int i = 0; i < count; i++) {
    const float scaled = values[i] * ulps;  // exact: a power of two
    if (!(scaled < 16777216.0f)) return {0, 0, 0};
    const unsigned whole = static_cast<unsigned>(scaled);
    const float rest = scaled - static_cast<float>(whole);
    const unsigned up = rest > 0.5f;
    const unsigned tie = rest == 0.5f;
    result.even += whole + (tie ? (result.even + whole) & 1 : up);
    result.odd += whole + (tie ? (result.odd + whole) & 1 : up);
  }
  result.odd -= 1;
  return result;
}

/* Called by all threads of a block; all get the result. */
__device__ __forceinline__ RunningSum runningSum(const float* values,  // (count), none negative
                                                 int count, float limit) {
  SHARED(float, chunkSums, [kSamplerThreads]);
  SHARED(float, warpSums, [kSamplerThreads / 32]);
  SHARED(Increment, increments, [kSamplerThreads]);
  SHARED(RunningSum, result, [1]);
  const int thread = static_cast<int>(threadIdx.x);
  const int threads = static_cast<int>(blockDim.x);
  const int even = (count + threads - 1) / threads;
  const int length = even < 32 ? 32 : even;  // values per chunk
  const int chunks = (count + length - 1) / length;
  const int first = thread * length < count ? thread * length : count;
  const int size = count - first < length ? count - first : length;

  // estimate the sum before and after each chunk
  float mine = 0.0f;
  for (int i = 0; i < size; i++) mine += values[first + i];
  chunkSums[thread] = mine;
  const float warp = warpSum(mine);
  if (laneOf() == 0) warpSums[warpOf()] = warp;
  __syncthreads();  // orders the writes of chunkSums and warpSums before the reads below
  float before = 0.0f;
  for (int w = 0; w < warpOf(); w++) before += warpSums[w];
  for (int t = thread - laneOf(); t < thread; t++) before += chunkSums[t];
  increments[thread] = incrementOf(values + first, size, before, before + mine);
  __syncthreads();  // orders the writes of increments before thread 0's reads

  if (thread == 0) {
    float sum = 0.0f;
    int found = -1;
    for (int t = 0; t < chunks && found < 0; t++) {
      const Increment add = increments[t];
      const unsigned bits = __float_as_uint(sum);
      // as an integer, the bits of a float count ulps, as long as the exponent does not change
      const unsigned next = bits + ((bits & 1) ? add.odd : add.even);
      if (add.exponent != 0 && static_cast<int>(bits >> 23) == add.exponent &&
          static_cast<int>(next >> 23) == add.exponent && !(__uint_as_float(next) > limit)) {
        sum = __uint_as_float(next);
        continue;
      }
      for (int i = t * length; i < count && i < (t + 1) * length && found < 0; i++) {
        sum += values[i];
        if (sum > limit) found = i;
      }
    }
    result[0] = {found, sum};
  }
  __syncthreads();  // orders the write of result before all reads of it
  const RunningSum all = result[0];
  __syncthreads();  // orders these reads before the next call's writes
  return all;
}

/* Sort in descending order. Called by all threads of a block. */
__device__ __forceinline__ void bitonicSort(uint64_t* keys,  // (size)
                                            int size) {      // a power of two
  for (int run = 2; run <= size; run *= 2) {
    for (int distance = run / 2; distance > 0; distance /= 2) {
      for (int i = static_cast<int>(threadIdx.x); i < size; i += static_cast<int>(blockDim.x)) {
        const int other = i ^ distance;
        const bool falling = (i & run) == 0;
        if (other > i && (keys[i] < keys[other]) == falling) {
          const uint64_t key = keys[i];
          keys[i] = keys[other];
          keys[other] = key;
        }
      }
      __syncthreads();  // orders this step's writes of keys before the next step's reads
    }
  }
}

/* sampleTopp of sampler.ts. Called by all threads of a block. Overwrites the probabilities. */
__device__ __forceinline__ int sampleTopp(float* probabilities,  // (n)
                                          int n, float topp, float coin,
                                          uint64_t* keys,  // (n, rounded up to a power of two), scratch
                                          int greedy) {    // the most likely token
  SHARED(int, candidates, [1]);
  if (threadIdx.x == 0) candidates[0] = 0;
  __syncthreads();  // orders the write of candidates before the additions to it
  const float cutoff = (1.0f - topp) / static_cast<float>(n - 1);
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) {
    if (probabilities[i] >= cutoff) keys[atomicAdd(candidates, 1)] = candidate(probabilities[i], i);
  }
  __syncthreads();  // orders the additions, and the writes of keys, before the reads below
  const int n0 = candidates[0];
  if (n0 == 0) {
    // the first of the most likely: tokens with different logits can have the same probability
    int first = 0;
    while (probabilities[first] < probabilities[greedy]) first++;
    return first;
  }
  int size = 1;
  while (size < n0) size *= 2;
  for (int i = n0 + static_cast<int>(threadIdx.x); i < size; i += static_cast<int>(blockDim.x)) keys[i] = 0;
  __syncthreads();  // orders the writes of keys before the sort
  bitonicSort(keys, size);
  // the sorted probabilities replace the unsorted ones, which are not needed any more
  for (int i = static_cast<int>(threadIdx.x); i < n0; i += static_cast<int>(blockDim.x)) {
    probabilities[i] = __uint_as_float(static_cast<unsigned>(keys[i] >> 32) & 0x7fffffffu);
  }
  __syncthreads();  // orders the writes of probabilities before the sums read them
  const RunningSum nucleus = runningSum(probabilities, n0, topp);
  const int last = nucleus.index < 0 ? n0 - 1 : nucleus.index;
  const RunningSum drawn = runningSum(probabilities, last + 1, coin * nucleus.sum);
  return tokenOf(keys[drawn.index < 0 ? last : drawn.index]);
}

/* The sampler's arguments. */
struct SamplerState {
  Entry* entries;        // (count)
  Draw* draws;           // (count)
  const float* logits;   // (count, vocabSize)
  const uint64_t* best;  // (count, bestCount)
  int bestCount;
  float* terms;    // (count, vocabSize)
  uint64_t* keys;  // (count, keyStride)
  int keyStride;
  int vocabSize, seqLen;
  int* step;                 // (count) steps of this decode() so far
  volatile int32_t* tokens;  // (steps, count) in host memory
};

/* Choose a token for each entry and make it the one to read next. Grid: (count). */
static __global__ void __launch_bounds__(kSamplerThreads) sampleToken(SamplerState s) {
  letNextKernelStart();
  waitForPreviousKernel();
  const int e = static_cast<int>(blockIdx.x);
  const int n = s.vocabSize;
  const Draw draw = s.draws[e];
  const uint64_t best = bestCandidate(s.best + static_cast<size_t>(e) * s.bestCount, s.bestCount);
  const int greedy = tokenOf(best);
  const bool chooses = !draw.ended && isFinite(best);
  int token = greedy;
  uint64_t state = draw.rngState;
  if (draw.temperature != 0.0f && chooses) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    const float coin = static_cast<float>((state * 0x2545f4914f6cdd1dull) >> 40) / 16777216.0f;
    if (!isGreedy(draw.temperature, s.logits[static_cast<size_t>(e) * n + greedy])) {
      float* terms = s.terms + static_cast<size_t>(e) * n;
      const float sum = runningSum(terms, n, INFINITY).sum;
      for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) terms[i] /= sum;
      __syncthreads();  // orders the writes of terms, now probabilities, before the reads below
      if (draw.topp <= 0.0f || draw.topp >= 1.0f) {
        const int index = runningSum(terms, n, coin).index;
        token = index < 0 ? n - 1 : index;
      } else {
        token = sampleTopp(terms, n, draw.topp, coin, s.keys + static_cast<size_t>(e) * s.keyStride, greedy);
      }
    }
  }
  __syncthreads();  // orders all threads' reads of the draw before the writes below
  if (threadIdx.x != 0) return;
  const int step = s.step[e]++;
  if (chooses) {
    const int pos = s.entries[e].pos + 1;
    const bool full = pos == s.seqLen;
    s.entries[e].token = token;
    if (!full) s.entries[e].pos = pos;
    s.draws[e].rngState = state;
    // at the end of the context, pos stays where it is: entries must not reach seqLen
    s.draws[e].ended = full ? 2 : token == draw.stop ? 1 : 0;
  } else if (!draw.ended) {
    s.draws[e].ended = 3;
  }
  s.tokens[static_cast<size_t>(step) * gridDim.x + e] = chooses ? token : kEnded;
  __threadfence_system();
}

}  // namespace llama2::cuda

#endif
