/*
 * The cuda backend as its callers see it: plain C++, no CUDA header. The addon and gpu:check build on this file.
 *
 *   Transformer   the weights, on one device
 *   Context       sequences being read: a KV cache for each slot, and the state that a forward pass works with
 *
 * Behind it, in the order in which a token meets it: embed.h; for each layer qkv.h, attention.h, output.h and ffn.h;
 * classifier.h; sampler.h; and copy.h between sequences. What they share is in matvec.h. forward.cu starts them;
 * context.cu and sample.cu are what a context does, transformer.cu brings the weights in, devices.cu says what there is
 * to run on. gpu.h is CUDA, or the emulator. addon/ is JavaScript's door. nvcc is called with -fmad=false: the
 * sampler's sums must round as C's do.
 *
 * Both belong to one thread at a time. All that fails throws an Error, except the constructor of a std container.
 */
#ifndef LLAMA2_CUDA_MODEL_H
#define LLAMA2_CUDA_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <string>
#include <vector>

#include "../config.h"
#include "../error.h"

namespace llama2::cuda {

// ----------------------------------------------------------------------------
// Devices

struct Device {
  std::string name;  // "NVIDIA H100 80GB HBM3"
  int computeMajor;  // 9
  int computeMinor;  // 0
  int multiprocessors;
  size_t totalBytes;
};

/* The devices of this machine. Throws kDeviceUnavailable, with the reason in one line, if there are none. */
std::vector<Device> devices();

/* Bytes of a device that nobody uses. From then on this process uses the device. Throws kDeviceUnavailable. */
size_t freeMemory(int device);

/* "13.0": what this build speaks, and what the driver does ("none" without one). */
std::string runtimeVersion();
std::string driverVersion();

// ----------------------------------------------------------------------------
// Weights

enum class Precision { kFp32, kFp16, kInt8 };  // of the matrices; vectors and activations are fp32
enum class KvPrecision { kFp32, kFp16 };       // of keys and values

struct Options {
  Precision precision;
  int groupSize;  // how many weights share a scale when precision is kInt8; else 0
  KvPrecision kvPrecision;
  bool sharedClassifier;  // the classifier is the embedding table
  int device;             // its number, from 0 on
};

/* Bytes on the device, known before anything is allocated. */
struct Memory {
  size_t weights;
  size_t context;  // KV caches and state of one context
  size_t total() const { return weights + context; }
};
Memory estimateMemory(const Config& config, const Options& options, int slots);

class Context;

class Transformer {
 public:
  /*
   * frequencies, (headSize / 2), are how fast RoPE turns each pair, from `ropeFrequencies`. Throws kDeviceUnavailable,
   * and kDeviceOom with the numbers if the weights are more than is free.
   */
  Transformer(const Config& config, const Options& options, const float* frequencies);
  ~Transformer();

  /*
   * Put the next numbers of a tensor into place, by its name in TransformerWeights and its layer, in the order of the
   * checkpoint; `offset` says how many came before. They become fp16 or int8 on the device where that is wanted.
   * A tensor is handed over from its first number to its last before the next is begun. Returns false, and does
   * nothing, if there is no such tensor, it is not that large, or these are not its next numbers.
   */
  bool fill(const std::string& name, int layer, const float* values, size_t count, size_t offset);
  /* The same for a matrix of a version-2 checkpoint: whole groups of `groupSize` numbers, each with its scale. */
  bool fillQuantized(const std::string& name, int layer, const int8_t* values, const float* scales, int groupSize,
                     size_t count, size_t offset);

  const Config& config() const;
  const Options& options() const;

 private:
  friend class Context;
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// ----------------------------------------------------------------------------
// Forward pass

/* A sequence that goes on by itself: what it reads next, and how it chooses what follows. Sampler of sampler.ts. */
struct Sequence {
  Entry next;         // the token to read, not yet in the cache
  float temperature;  // 0: greedy
  float topp;
  uint64_t rngState;
  int32_t stop;  // ends after this token; -1: none does
};

/*
 * What `Context::tokens` says of a sequence that has ended: it met its stop token, or the end of the context; or its
 * logits are not all finite, and no token was chosen from them.
 */
constexpr int32_t kEnded = -1;

class Context {
 public:
  /* Throws kDeviceOom with the numbers if the caches are more than is free. The transformer must outlive it. */
  Context(Transformer& transformer, int slots);
  ~Context();

  int slots() const;
  /* The most entries that one call of `forward`, and sequences that one call of `decode`, take. */
  int maxBatch() const;

  /*
   * Read the entries of a batch, at most maxBatch(), and write the logits of the last `wanted`, (wanted, vocabSize).
   * What precedes an entry in its sequence has been read by earlier calls, or stands before it in the batch. Tokens,
   * positions and sequences that are out of range are refused with std::invalid_argument.
   */
  void forward(const Entry* batch, int count, int wanted, float* logits);

  /*
   * Let the sequences, all distinct, go on for `steps` tokens, at most maxSteps(): read, choose, read what
   * was chosen. This enqueues the work and returns; tokens(step) waits for one step of it. Call finish() before
   * anything else but tokens().
   */
  void decode(const Sequence* sequences, int count, int steps);
  int maxSteps() const;
  /*
   * The tokens chosen in a step, (count), as soon as they are there; the first step is 0. kEnded for a sequence that
   * had ended before.
   */
  const int32_t* tokens(int step);
  /*
   * Wait for all steps, and write where the sequences are now: decode() with these goes on as if there had been no
   * pause. One that has met its stop token, or whose pos is seqLen, is over. One whose logits are not finite has not
   * moved: `next` is the token after which they are not.
   */
  void finish(Sequence* sequences);

  /*
   * Copy the first `positions` positions of the KV cache of sequence `from` to sequence `to`, which can then be read on
   * from there. Enqueues the work; later calls see it done. Refuses what is out of range with std::invalid_argument.
   */
  void copy(int from, int to, int positions);

  /* Choose one token from logits (vocabSize) of the host, and go on, as decode() does with its own. */
  int32_t sample(const float* logits, Sequence& sequence);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace llama2::cuda

#endif
