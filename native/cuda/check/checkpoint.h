/*
 * Models for the check: seeded random ones of any shape, generated in memory, and files of llama2.c.
 *
 * `seeded` gives the numbers of test/helpers/checkpoint.ts. run.c's logits for these are known, and the check compares
 * them (test/golden/forced-logits.json).
 */
#ifndef LLAMA2_CHECK_CHECKPOINT_H
#define LLAMA2_CHECK_CHECKPOINT_H

#include <string>
#include <vector>

#include "../model.h"

namespace llama2::check {

using cuda::KvPrecision;
using cuda::Options;
using cuda::Precision;

struct Tensor {
  std::string name;  // in TransformerWeights
  int layer;
  int d, n;  // (d, n); a vector has d = 1
  std::vector<float> values;

  bool isMatrix() const { return name.compare(0, 3, "rms") != 0; }
};

struct Checkpoint {
  std::string name;
  Config config;
  bool sharedClassifier;
  std::vector<Tensor> tensors;
};

/* dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen */
struct Shape {
  std::string name;
  int dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen;
  int groupSize = 0;  // of int8
  bool untied = false;

  Config config() const { return {dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen, 1e-5f}; }
};

/* The shapes whose speed is measured. */
const std::vector<Shape>& speedShapes();
/* The shape with this name, among these and the tests' shapes; throws if there is none. */
Shape shapeOf(const std::string& name);

Checkpoint seeded(const Shape& shape, uint32_t seed, bool untied);
/* A version-0 checkpoint. */
Checkpoint readCheckpoint(const std::string& path);

/* RoPE's frequency of each pair, (headSize / 2), with C's own powf, which run.c calls as well. */
std::vector<float> ropeFrequencies(const Config& p);

/* "15M fp16" */
std::string describe(const std::string& name, Precision precision);
const char* nameOf(Precision precision);
constexpr Precision kPrecisions[] = {Precision::kFp32, Precision::kFp16, Precision::kInt8};

/* Options for a model with int8 groups of this size. */
Options optionsOf(const Config& config, Precision precision, int groupSize, bool sharedClassifier);

/* Put a model on the device, in pieces. */
std::unique_ptr<cuda::Transformer> load(const Checkpoint& checkpoint, const Options& options);
/* The same, only for measuring speed: the same random numbers again and again. */
std::unique_ptr<cuda::Transformer> loadRandom(const Shape& shape, const Options& options);

}  // namespace llama2::check

#endif
