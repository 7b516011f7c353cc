/* The sampler, as src/llama2/sampler.ts: from logits to the next token. */
#ifndef LLAMA2_CPU_SAMPLER_H
#define LLAMA2_CPU_SAMPLER_H

#include <stdint.h>

#include <vector>

#include "kernels.h"

namespace llama2 {

/* How to choose a token: the settings of sampler.ts, and the coin, a random number in [0, 1), unused at temperature 0.
 */
struct Draw {
  float temperature;
  float topp;
  float coin;
};

/* Chooses tokens; one for each thread. */
class Sampler {
 public:
  /* Throws std::bad_alloc. */
  Sampler(const Kernels& kernels, int vocabSize);
  /* The bytes that it allocates. */
  static size_t bytes(int vocabSize) { return 2 * sizeof(float) * vocabSize; }

  /* Choose a token. The logits (vocabSize) are used up; if not all are finite, they stay as they are, and -1 returns.
   */
  int sample(float* logits, const Draw& draw);

 private:
  int sampleMult(const float* probabilities, float coin) const;
  int sampleTopp(const float* probabilities, float topp, float coin);
  float leastLikely(const float* probabilities, float topp, float cutoff);
  int accumulate(const float* probabilities, float topp, float least);

  const Kernels& kernels_;
  const int vocabSize_;
  std::vector<float> likely_;  // (vocabSize) the probabilities that count for top-p, the largest first
  std::vector<float> cdf_;     // (vocabSize) their running sums
};

}  // namespace llama2

#endif
