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
  // also if the temperature is so close to 0 that the division overflows: the limit is greedy
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

/* From this many numbers on, std::sort is too slow: a nucleus can have most of a large vocabulary. */
constexpr int kMany = 256;

/*
 * Sort numbers from 0 to 1, the largest first; `spare` has room for the same number. A comparison sort would take
 * longer than a forward pass, so this is a radix sort: the bits of non-negative floats have the same order as the
 * floats.
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
 * Probabilities are sorted without their tokens. The drawn probability leads back to its token: the k-th of those with
 * this probability.
 */
int Sampler::sampleTopp(const float* probabilities, float topp, float coin) {
  // values smaller than (1 - topp) / (n - 1) cannot be part of the result, so crop them before sorting
  const float cutoff = (1.0f - topp) / static_cast<float>(vocabSize_ - 1);
  int n = accumulate(probabilities, topp, leastLikely(probabilities, topp, cutoff));
  // that was an estimate: if rounding has made it too high, use all candidates
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
 * About the probability of the last token of the nucleus, or somewhat less: the sum of tokens at least as likely
 * exceeds topp. Without it, most of the sorted candidates would not be needed.
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

/* Sort the probabilities from `least` on, and add them until the sum exceeds topp. Returns how many that takes. */
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
