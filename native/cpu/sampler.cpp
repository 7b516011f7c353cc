#include "sampler.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

namespace llama2 {

Sampler::Sampler(const Kernels& kernels, int vocabSize)
    : kernels_(kernels), vocabSize_(vocabSize), likely_(vocabSize), cdf_(vocabSize) {}

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

/* So many numbers are worth more than a plain sort: a nucleus can have most of a large vocabulary. */
constexpr int kMany = 256;

/*
 * Sort numbers from 0 to 1, the largest first, with room for as many in `spare`. Comparing many would take longer than
 * a forward pass: they are dealt out by the digits of their bits, which are ordered as floats that are not negative
 * are, the lowest digit first, each time keeping the order so far.
 */
void sortFalling(std::vector<float>& numbers, std::vector<float>& spare, int count) {
  if (count < kMany) return std::sort(numbers.begin(), numbers.begin() + count, std::greater<float>());

  constexpr int kDigit = 10, kDigits = 3;  // bits: the distance to the bits of 1 has 30
  const auto digitOf = [](float number, int digit) {
    constexpr uint32_t kOne = 0x3f800000;
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return (kOne - bits) >> digit * kDigit & ((1 << kDigit) - 1);
  };
  std::array<std::array<int, 1 << kDigit>, kDigits> places = {};
  for (int i = 0; i < count; i++) {
    for (int d = 0; d < kDigits; d++) places[d][digitOf(numbers[i], d)]++;
  }
  for (int d = 0; d < kDigits; d++) {
    int place = 0;
    for (int& entry : places[d]) place += std::exchange(entry, place);
    for (int i = 0; i < count; i++) spare[places[d][digitOf(numbers[i], d)]++] = numbers[i];
    numbers.swap(spare);
  }
}

}  // namespace

/*
 * Probabilities are sorted without their tokens: the one that is drawn leads back to its token, the k-th of those that
 * are as likely.
 */
int Sampler::sampleTopp(const float* probabilities, float topp, float coin) {
  // values smaller than (1 - topp) / (n - 1) cannot be part of the result, so crop them before sorting
  const float cutoff = (1.0f - topp) / static_cast<float>(vocabSize_ - 1);
  int n = accumulate(probabilities, topp, leastLikely(probabilities, topp, cutoff));
  // that was an estimate: should rounding have made it too high, all candidates count
  if (n == 0 || cdf_[n - 1] <= topp) n = accumulate(probabilities, topp, cutoff);
  if (n == 0) return kernels_.argmax(probabilities, vocabSize_);

  // sample from the truncated list, whose running sums never fall; the last one also in case of rounding errors
  const float r = coin * cdf_[n - 1];
  const int drawn = std::upper_bound(cdf_.begin(), cdf_.begin() + n - 1, r) - cdf_.begin();
  int before = 0;
  while (before < drawn && likely_[drawn - before - 1] == likely_[drawn]) before++;
  return kernels_.find(probabilities, vocabSize_, likely_[drawn], before);
}

/*
 * About how likely the last token of the nucleus is, or somewhat less: the sum of those as likely is above topp. Most
 * of what the cutoff lets through would be sorted for nothing.
 */
float Sampler::leastLikely(const float* probabilities, float topp, float cutoff) {
  const int n0 = kernels_.atLeast(likely_.data(), probabilities, vocabSize_, cutoff);
  if (n0 < kMany) return cutoff;
  float low = cutoff, high = 1;
  for (int i = 0; i < 8; i++) {
    const float middle = sqrtf(low * high);
    (kernels_.sumAtLeast(likely_.data(), n0, middle) > topp ? low : high) = middle;
  }
  return low;
}

/* Sort those that are at least so likely, and add them up until the sum exceeds topp. Returns how many that takes. */
int Sampler::accumulate(const float* probabilities, float topp, float least) {
  const int n = kernels_.atLeast(likely_.data(), probabilities, vocabSize_, least);
  sortFalling(likely_, cdf_, n);
  float cumulativeProb = 0;
  for (int i = 0; i < n; i++) {
    cumulativeProb += likely_[i];
    cdf_[i] = cumulativeProb;
    if (cumulativeProb > topp) return i + 1;
  }
  return n;  // in case of rounding errors consider all elements
}

}  // namespace llama2
