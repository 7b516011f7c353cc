/*
 * What the GPU is compared to: the cpu backend's plain kernels, one thread's order of sums, which give run.c's bits.
 * They get the weights as the device has them after it has rounded them; the rounding here is our own.
 */
#ifndef LLAMA2_CHECK_REFERENCE_H
#define LLAMA2_CHECK_REFERENCE_H

#include <memory>

#include "checkpoint.h"

namespace llama2::check {

class Reference {
 public:
  Reference(const Checkpoint& checkpoint, const Options& options, int sequences);
  ~Reference();

  /* The logits of every entry, (entries, vocabSize). */
  std::vector<float> forward(const std::vector<Entry>& entries);
  /* The same of sequence 0, from its first token on. */
  std::vector<float> read(const std::vector<int>& tokens);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/* Greedy tokens, from the first one read on, beside what the reference would have said after the same tokens. */
struct Preference {
  int others;  // how often it would have taken another
  double gap;  // by how much it prefers that one, at worst, as a share of its largest logit
};
Preference compareGreedy(const Checkpoint& checkpoint, const Options& options, const std::vector<int>& tokens);

/* The reference for the sampler: sampler.ts as the cpu backend implements it. */
class ReferenceSampler {
 public:
  explicit ReferenceSampler(int vocabSize);
  ~ReferenceSampler();
  /* Chooses a token as `Context::sample` does, and advances the generator. */
  int sample(std::vector<float> logits, float temperature, float topp, uint64_t& rngState);
  /* The running sums of the probabilities, (vocabSize), in float32 and in the order of tokens. */
  std::vector<float> runningSums(std::vector<float> logits) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/* The largest difference, as a share of the largest number of the reference; NaN if either has one. */
double relativeError(const float* actual, const float* expected, size_t count);

/* The nearest number that fp16 has, ties to even. */
float roundToHalf(float value);

}  // namespace llama2::check

#endif
