/*
 * The public interface of the cuda backend: plain C++ without CUDA headers, used by the addon and by gpu:check.
 *
 *   Transformer   the weights, on one device
 *   Context       live sequences: a KV cache slot for each, and the state of a forward pass
 *
 * The kernels, in the order in which a token goes through them: embed.h; for each layer qkv.h, attention.h, output.h
 * and ffn.h; classifier.h; sampler.h. copy.h copies a prefix between sequences. matvec.h is what they share. The host
 * side: forward.cu launches the kernels, context.cu and sample.cu implement Context, transformer.cu loads the weights,
 * devices.cu finds devices. gpu.h is CUDA or the emulator; addon/ is the JavaScript binding. nvcc is called with
 * -fmad=false, because the sampler's sums must round as C's do.
 *
 * One thread at a time may use an object. Failures throw Error; std containers may also throw std::bad_alloc.
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

/* Free memory of a device in bytes. Creates this process's context on the device. Throws kDeviceUnavailable. */
size_t freeMemory(int device);

/*
 * Bytes a second that are read and written while memory of a device is copied to itself, again and again for so many
 * seconds. `bytes` are copied at a time, or what a quarter of its free memory allows. Throws kDeviceUnavailable.
 */
double copyBandwidth(int device, size_t bytes, double seconds);

/* The CUDA version of this build and of the driver, such as "13.0"; "none" without a driver. */
std::string runtimeVersion();
std::string driverVersion();

// ----------------------------------------------------------------------------
// Weights

enum class Precision { kFp32, kFp16, kInt8 };  // of matrices; norms and activations are fp32
enum class KvPrecision { kFp32, kFp16 };       // of keys and values

struct Options {
  Precision precision;
  int groupSize;  // weights per scale for kInt8, else 0
  KvPrecision kvPrecision;
  bool sharedClassifier;  // the classifier is the embedding table
  int device;             // index, from 0
};

/* Device memory in bytes, computed without allocating anything. */
struct Memory {
  size_t weights;
  size_t context;  // KV caches and state of one context
  size_t total() const { return weights + context; }
};
Memory estimateMemory(const Config& config, const Options& options, int slots);

class Context;

class Transformer {
 public:
  /* Throws kDeviceUnavailable; kDeviceOom, with the numbers, if the weights do not fit. */
  Transformer(const Config& config, const Options& options,
              const float* frequencies);  // (headSize / 2) of RoPE, from `ropeFrequencies`
  ~Transformer();

  /*
   * Load elements [offset, offset + count) of a tensor, named as in TransformerWeights, in checkpoint order. They are
   * converted to fp16 or int8 on the device if the options say so. A tensor must be passed from its first element to
   * its last before the next is started. Returns false and does nothing if there is no such tensor, the range exceeds
   * it, or these are not its next elements.
   */
  bool fill(const std::string& name, int layer, const float* values, size_t count, size_t offset);
  /* The same for a matrix that is int8 already: whole groups of `groupSize` values, (count), with scales, (count /
   * groupSize). */
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

/* A sequence that is decoded on the device: what it reads next, and how its tokens are sampled (sampler.ts). */
struct Sequence {
  Entry next;         // the token to read, not yet in the cache
  float temperature;  // 0: greedy
  float topp;
  uint64_t rngState;
  int32_t stop;  // ends after this token; -1: none does
};

/*
 * Stands in `Context::tokens` for a sequence that has ended: after its stop token, at the end of the context, or
 * because its logits were not all finite.
 */
constexpr int32_t kEnded = -1;

class Context {
 public:
  /* Throws kDeviceOom, with the numbers, if the caches do not fit. The transformer must outlive the context. */
  Context(Transformer& transformer, int slots);
  ~Context();

  int slots() const;
  /* The most entries per call of `forward`, and sequences per call of `decode`. */
  int maxBatch() const;

  /*
   * Read a batch and write the logits of its last `wanted` entries. All earlier positions of an entry's sequence have
   * been read by previous calls or come before it in the batch. Throws std::invalid_argument for tokens, positions and
   * sequences out of range.
   */
  void forward(const Entry* batch,  // (count)
               int count,           // 1 to maxBatch()
               int wanted,          // 0 to count
               float* logits);      // (wanted, vocabSize)

  /*
   * Generate `steps` tokens, at most maxSteps(), for each of `count` distinct sequences: each step reads a token and
   * samples the next. Enqueues the work and returns; tokens(step) waits for one step. Only tokens() and then finish()
   * may be called next.
   */
  void decode(const Sequence* sequences, int count, int steps);
  int maxSteps() const;
  /* Wait for a step, counted from 0. The tokens that it chose, (count); kEnded for a sequence that had ended before. */
  const int32_t* tokens(int step);
  /*
   * Wait for all steps and update the sequences: decode() continues from them as if there had been no pause. A sequence
   * has ended if it met its stop token or its pos is seqLen. One whose logits were not finite did not advance: `next`
   * is the token after which they were not.
   */
  void finish(Sequence* sequences);

  /*
   * Copy the first `positions` positions of the KV cache of sequence `from` to sequence `to`, which continues from
   * there. Enqueues the work; later calls see the result. Throws std::invalid_argument for arguments out of range.
   */
  void copy(int from, int to, int positions);

  /* Sample one token from host logits, (vocabSize), and advance the sequence, as decode() does. */
  int32_t sample(const float* logits, Sequence& sequence);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace llama2::cuda

#endif
