#include "sampler.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <utility>

namespace llama2 {

Sampler::Sampler(const Kernels& kernels, int vocabSize)
    : kernels_(kernels),
      vocabSize_(vocabSize),
      indices_(vocabSize),
      probindex_(vocabSize),
      spare_(vocabSize),
      cdf_(vocabSize) {}

int Sampler::sample(float* logits, const Draw& draw) {
  const auto [temperature, topp, coin] = draw;
  if (!kernels_.allFinite(logits, vocabSize_)) return -1;
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
 * A candidate as one number: the smaller, the earlier it comes. Above, how far the bits of its probability are below
 * those of 1, since floats that are not negative are ordered as their bits are; below, its index, for ties.
 */
constexpr uint32_t kOne = 0x3f800000;

uint64_t candidate(float probability, int index) {
  uint32_t bits;
  memcpy(&bits, &probability, sizeof bits);
  return uint64_t{kOne - bits} << 32 | static_cast<uint32_t>(index);
}

float probabilityOf(uint64_t candidate) {
  const uint32_t bits = kOne - static_cast<uint32_t>(candidate >> 32);
  float probability;
  memcpy(&probability, &bits, sizeof probability);
  return probability;
}

int indexOf(uint64_t candidate) { return static_cast<int>(static_cast<uint32_t>(candidate)); }

/*
 * Sort candidates that are in the order of their indices, with room for as many in `spare`. A nucleus can have most of
 * a large vocabulary, and comparing so many would take longer than a forward pass: they are dealt out by digits, the
 * lowest first, each time keeping the order so far.
 */
void sortCandidates(std::vector<uint64_t>& candidates, std::vector<uint64_t>& spare, int count) {
  constexpr int kDigit = 11, kDigits = 3, kFirst = 32;  // bits: 3 digits from bit 32 on
  constexpr uint64_t kMask = (1 << kDigit) - 1;
  constexpr int kWorthIt = 256;
  if (count < kWorthIt) return std::sort(candidates.begin(), candidates.begin() + count);

  std::array<std::array<int, kMask + 1>, kDigits> places = {};
  for (int i = 0; i < count; i++) {
    for (int d = 0; d < kDigits; d++) places[d][candidates[i] >> (kFirst + d * kDigit) & kMask]++;
  }
  for (int d = 0; d < kDigits; d++) {
    int place = 0;
    for (int& entry : places[d]) place += std::exchange(entry, place);
    for (int i = 0; i < count; i++) spare[places[d][candidates[i] >> (kFirst + d * kDigit) & kMask]++] = candidates[i];
    candidates.swap(spare);
  }
}

}  // namespace

int Sampler::sampleTopp(const float* probabilities, float topp, float coin) {
  // values smaller than (1 - topp) / (n - 1) cannot be part of the result, so crop them before sorting
  const float cutoff = (1.0f - topp) / static_cast<float>(vocabSize_ - 1);
  const int n0 = kernels_.atLeast(indices_.data(), probabilities, vocabSize_, cutoff);
  if (n0 == 0) return kernels_.argmax(probabilities, vocabSize_);
  for (int i = 0; i < n0; i++) probindex_[i] = candidate(probabilities[indices_[i]], indices_[i]);

  sortCandidates(probindex_, spare_, n0);

  // truncate the list where the cumulative probability exceeds topp
  float cumulativeProb = 0;
  int lastIdx = n0 - 1;  // in case of rounding errors consider all elements
  for (int i = 0; i < n0; i++) {
    cumulativeProb += probabilityOf(probindex_[i]);
    cdf_[i] = cumulativeProb;
    if (cumulativeProb > topp) {
      lastIdx = i;
      break;  // we've exceeded topp by including lastIdx
    }
  }

  // sample from the truncated list, whose running sums, which never fall, are those above
  const float r = coin * cumulativeProb;
  const auto end = cdf_.begin() + lastIdx;
  // the last one also in case of rounding errors
  return indexOf(probindex_[std::upper_bound(cdf_.begin(), end, r) - cdf_.begin()]);
}

}  // namespace llama2
