/*
 * The reference for the GPU: the cpu backend's base kernels, which give run.c's bits. They get the weights rounded as
 * on the device, by separate code.
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
  /* The same for sequence 0, from its first token on. */
  std::vector<float> read(const std::vector<int>& tokens);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/* Compares greedy tokens, from the first one read, with the reference's choice after the same tokens. */
struct Preference {
  int others;  // how often the reference would have chosen another token
  double gap;  // by how much it prefers that one, at most, as a share of its largest logit
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

/* The largest difference, as a share of the reference's largest number; NaN if either has a NaN. */
double relativeError(const float* actual, const float* expected, size_t count);

/* The nearest fp16 number, ties to even. */
float roundToHalf(float value);

}  // namespace llama2::check

#endif
