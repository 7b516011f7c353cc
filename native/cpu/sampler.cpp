#include "sampler.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include <algorithm>
#include <functional>

namespace llama2 {

Sampler::Sampler(const Kernels& kernels, int vocabSize)
    : kernels_(kernels), vocabSize_(vocabSize), indices_(vocabSize), probindex_(vocabSize) {}

int Sampler::sample(float* logits, float temperature, float topp, float coin) {
  const int greedy = kernels_.argmax(logits, vocabSize_);
  // also so near to 0 that the division overflows: the limit is greedy
  if (temperature < FLT_MIN || !isfinite(logits[greedy] / temperature)) return greedy;
  // apply the temperature to the logits, and softmax to get the probabilities for the next token
  kernels_.softmax({logits, 0}, 1, vocabSize_, temperature);
  if (topp <= 0 || topp >= 1) return sampleMult(logits, coin);
  return sampleTopp(logits, topp, coin);
}

int Sampler::sampleMult(const float* probabilities, float coin) const {
  float cdf = 0;
  for (int i = 0; i < vocabSize_; i++) {
    cdf += probabilities[i];
    if (coin < cdf) return i;
  }
  return vocabSize_ - 1;  // in case of rounding errors
}

namespace {

/*
 * A candidate as one number: the larger, the earlier it comes. Above the bits of its probability, whose order is
 * that of floats since they are not negative; below its index, turned round, so that the lower comes first on a tie.
 */
uint64_t candidate(float probability, int index) {
  uint32_t bits;
  memcpy(&bits, &probability, sizeof bits);
  return uint64_t{bits} << 32 | (0xffffffff - static_cast<uint32_t>(index));
}

float probabilityOf(uint64_t candidate) {
  const uint32_t bits = static_cast<uint32_t>(candidate >> 32);
  float probability;
  memcpy(&probability, &bits, sizeof probability);
  return probability;
}

int indexOf(uint64_t candidate) { return static_cast<int>(0xffffffff - static_cast<uint32_t>(candidate)); }

}  // namespace

int Sampler::sampleTopp(const float* probabilities, float topp, float coin) {
  // values smaller than (1 - topp) / (n - 1) cannot be part of the result, so crop them before sorting
  const float cutoff = (1.0f - topp) / static_cast<float>(vocabSize_ - 1);
  const int n0 = kernels_.atLeast(indices_.data(), probabilities, vocabSize_, cutoff);
  if (n0 == 0) return kernels_.argmax(probabilities, vocabSize_);
  for (int i = 0; i < n0; i++) probindex_[i] = candidate(probabilities[indices_[i]], indices_[i]);

  // truncate the list where the cumulative probability exceeds topp
  const auto first = probindex_.begin();
  int sorted = 0;  // how many of the list are in order: mostly a few are enough
  float cumulativeProb = 0;
  int lastIdx = n0 - 1;  // in case of rounding errors consider all elements
  for (int i = 0; i < n0; i++) {
    if (i == sorted) {
      const int next = std::min(n0, std::max(64, 4 * sorted));
      if (next < n0) std::nth_element(first + sorted, first + next, first + n0, std::greater<>());
      std::sort(first + sorted, first + next, std::greater<>());
      sorted = next;
    }
    cumulativeProb += probabilityOf(probindex_[i]);
    if (cumulativeProb > topp) {
      lastIdx = i;
      break;  // we've exceeded topp by including lastIdx
    }
  }

  // sample from the truncated list
  const float r = coin * cumulativeProb;
  float cdf = 0;
  for (int i = 0; i <= lastIdx; i++) {
    cdf += probabilityOf(probindex_[i]);
    if (r < cdf) return indexOf(probindex_[i]);
  }
  return indexOf(probindex_[lastIdx]);  // in case of rounding errors
}

}  // namespace llama2
