/*
 * The transformer in native code: src/llama2/transformer.ts with its names, for a batch of tokens and several threads.
 * The TypeScript explains what is computed and why; this code makes it fast.
 */
#ifndef LLAMA2_CPU_TRANSFORMER_H
#define LLAMA2_CPU_TRANSFORMER_H

#include <stdint.h>

#include <string>
#include <vector>

#include "../config.h"
#include "kernels.h"
#include "memory.h"
#include "sampler.h"
#include "thread_pool.h"

namespace llama2 {

/* The most entries of any batch. */
constexpr int kMaxBatch = 64;

/* The most entries that attend together. */
constexpr int kTogether = 8;

/* The segments of an int8 matrix's rows: see kernels.h. */
Segments segmentsOf(int n, int groupSize);

/* A matrix of d rows and n columns, in panels: float32, or int8 if groupSize is not 0. */
struct Matrix {
  int d = 0;
  int n = 0;
  int groupSize = 0;

  float* data = nullptr;  // float32: (ceil(d / 16), n, 16)

  int8_t* q = nullptr;       // int8: (ceil(d / 16), segments, quads, 16, 4)
  float* s = nullptr;        // (ceil(d / 16), segments, 16)
  uint16_t* ends = nullptr;  // (ceil(d / 16), segments), or nullptr: see Int8Panels
  Segments segments = {};

  Matrix() = default;
  Matrix(Parts& memory, int d, int n, int groupSize);

  size_t panelStride() const { return static_cast<size_t>(n) * kPanel; }
  /* How many numbers a float32 matrix takes. */
  static size_t size(int d, int n) { return static_cast<size_t>(panelsOf(d)) * n * kPanel; }

  /* Fill in the next `count` numbers. They are in row order, and the first belongs at `offset`. */
  void fill(const float* values, size_t count, size_t offset);
  /* The same for int8: whole groups, with a scale for each. */
  void fillQuantized(const int8_t* values, const float* scales, size_t count, size_t offset);
  /* xout (n) = row `row` */
  void copyRow(float* xout, int row) const;
  /* The panels of rows `begin` to before `end`; `begin` is a multiple of 16. */
  Panels panels(int begin, int end) const;
  Int8Panels int8Panels(int begin, int end) const;
};

/*
 * How many numbers of each matrix share a scale, the same in all layers; 0: it is float32. A shared classifier has the
 * embedding table's, whatever `wcls` says.
 */
struct GroupSizes {
  int tokenEmbeddingTable;
  int wq;
  int wk;
  int wv;
  int wo;
  int w1;
  int w2;
  int w3;
  int wcls;

  static GroupSizes all(int groupSize) {
    return {groupSize, groupSize, groupSize, groupSize, groupSize, groupSize, groupSize, groupSize, groupSize};
  }
};

struct TransformerWeights {
  Matrix tokenEmbeddingTable;        // (vocabSize, dim)
  std::vector<float*> rmsAttWeight;  // (nLayers, dim)
  std::vector<Matrix> wq;            // (nLayers, dim, dim)
  std::vector<Matrix> wk;            // (nLayers, kvDim, dim)
  std::vector<Matrix> wv;            // (nLayers, kvDim, dim)
  std::vector<Matrix> wo;            // (nLayers, dim, dim)
  std::vector<float*> rmsFfnWeight;  // (nLayers, dim)
  std::vector<Matrix> w1;            // (nLayers, hiddenDim, dim)
  std::vector<Matrix> w2;            // (nLayers, dim, hiddenDim)
  std::vector<Matrix> w3;            // (nLayers, hiddenDim, dim)
  float* rmsFinalWeight = nullptr;   // (dim)
  Matrix wcls;                       // (vocabSize, dim); may be tokenEmbeddingTable

  /* The matrix or the vector of that name and layer; nullptr if there is none. */
  Matrix* matrix(const std::string& name, int layer);
  float* vector(const std::string& name, int layer);
};

/* Sizes in bytes, computed before anything is allocated. */
struct MemoryNeeds {
  size_t weights;
  size_t perSequence;  // of a context: a KV cache
  size_t scratch;      // the rest of a context
};
MemoryNeeds estimateMemory(const Config& config, bool sharedClassifier, const GroupSizes& groupSizes, int threads);

class Context;

/* A sequence that decodes by itself. */
struct Running {
  Entry entry;   // the token that it reads next
  int32_t stop;  // the token that ends it
};

/* How it chooses tokens. */
struct Choice {
  float temperature;
  float topp;
};

struct Decoded {
  int steps;
  double lateMs;    // for how long one of the threads waited for another that was late
  double sampleMs;  // what choosing tokens took
};

/* The weights and the threads. One forward pass at a time, over all contexts. */
class Transformer {
 public:
  /*
   * frequencies, (headSize / 2), are from `ropeFrequencies`. Throws std::bad_alloc, std::system_error.
   */
  Transformer(const Config& config, bool sharedClassifier, const GroupSizes& groupSizes, const float* frequencies,
              const Kernels& kernels, int threads);

  /*
   * Fill in the next numbers of a tensor, by its name in TransformerWeights and its layer. The numbers are in the order
   * of the checkpoint, and `offset` is how many came before. Returns false and does nothing if there is no such tensor,
   * or it is not that large.
   */
  bool fill(const std::string& name, int layer, const float* values, size_t count, size_t offset);
  /* The same for an int8 matrix: whole groups, with a scale each. */
  bool fillQuantized(const std::string& name, int layer, const int8_t* values, const float* scales, size_t count,
                     size_t offset);

  /*
   * Read the entries of a batch, at most maxBatch(), and write the logits of the last `wanted`, (wanted, vocabSize).
   * The caller has checked that tokens, positions and sequences are in range. `threads` of the threads() work on it;
   * the bits do not depend on their number. Returns for how many milliseconds a thread waited for a late one.
   */
  double forward(Context& context, const Entry* batch, int count, int wanted, float* logits, int threads) noexcept;

  /* Choose a token from each of `count` rows of logits, (count, vocabSize), as Sampler does. */
  void sample(Context& context, float* logits, const Draw* draws, int count, int32_t* tokens, int threads) noexcept;

  /*
   * Let `count` distinct sequences decode by themselves: a step reads a token of each and chooses the next one. Ends
   * after `most` steps or `milliseconds`, or with the first sequence that meets its stop token or logits that are not
   * finite. Writes the tokens, (steps, count), with -1 for logits that are not finite. `running` and `states`, those of
   * sampler.ts's generators, are updated; `logits`, (count, vocabSize), is scratch.
   */
  Decoded decode(Context& context, Running* running, const Choice* choices, uint64_t* states, int count, int most,
                 double milliseconds, float* logits, int32_t* tokens, int threads) noexcept;

  /* Copy the keys and values of the first `positions` positions of one sequence to another. */
  void copy(Context& context, int from, int to, int positions) noexcept;

  /* Copy the keys and values of a position, (nLayers, kvDim) each. */
  void trace(const Context& context, int sequence, int pos, float* keys, float* values) const noexcept;

  /* The most entries of a batch. */
  int maxBatch() const { return maxBatch_; }

  const Config& config() const { return config_; }
  const GroupSizes& groupSizes() const { return groupSizes_; }
  /* How many numbers of a tensor share a scale; 0: it is float32, or there is no such tensor. */
  int groupSizeOf(const std::string& name) const;
  const Kernels& kernels() const { return kernels_; }
  int threads() const { return pool_.threads(); }

 private:
  class Pass;

  const Config config_;
  const GroupSizes groupSizes_;
  const Kernels& kernels_;
  const size_t bytes_;         // of the weights
  const Reading readings_[3];  // how they are read: for one token, for two, for more
  const int maxBatch_;
  Memory memory_;
  TransformerWeights weights_;
  const std::vector<float> frequencies_;  // (headSize / 2) of RoPE
  ThreadPool pool_;
};

/* The keys and values of one sequence, as matrices that attention multiplies with. */
struct KvCache {
  /*
   * The keys of each head are a matrix with a row for each position, (nLayers, nKvHeads, seqLen, headSize), in
   * panels: times the query, it gives the scores.
   */
  float* keyCache;
  /*
   * The values of each head are a matrix with a column for each position, (nLayers, nKvHeads, headSize, seqLen),
   * in panels: times the attention weights, it gives their weighted sum.
   */
  float* valueCache;
};

/* The distance from the scores of one head to the next: whole panels of positions. */
inline size_t attStride(const Config& p) { return static_cast<size_t>(panelsOf(p.seqLen)) * kPanel; }

/* How many rows of scores a thread has: a row for each head of one token, or for some heads of several. */
inline int scoreRows(const Config& p) { return p.nHeads > 4 * kTogether ? p.nHeads : 4 * kTogether; }

/* RunState of transformer.ts, with a row for each token of a batch. */
struct RunState {
  float* x;    // (maxBatch, dim)
  float* xn;   // (max(maxBatch, threads), dim) x after rmsnorm
  float* xb;   // (maxBatch, dim)
  float* xb2;  // (maxBatch, dim)
  float* hb;   // (maxBatch, hiddenDim)
  float* hb2;  // (maxBatch, hiddenDim)
  float* q;    // (maxBatch, dim)
  float* k;    // (maxBatch, kvDim)
  float* v;    // (maxBatch, kvDim)
  float* att;  // (threads, scoreRows, seqLen)
  float* fcr;  // (maxBatch, headSize / 2)
  float* fci;  // (maxBatch, headSize / 2)

  /* What matmul multiplies where a batch has several tokens: one of the above, interleaved. */
  float* xi;  // (max(dim, hiddenDim), count)

  /* What it multiplies with an int8 matrix: one of the above, rounded. */
  int8_t* xq;       // (max(maxBatch, threads), segments, quads, kMostQuadBytes)
  float* xs;        // (max(maxBatch, threads), segments)
  int32_t* xsum;    // (max(maxBatch, threads), segments)
  size_t xqStride;  // from one row of xq to the next, whatever is rounded: whole cache lines, as it may be one thread's
  size_t xsStride;  // the same of xs and xsum
};

/* Sequences being read, by the transformer that it was made for. */
class Context {
 public:
  /* Throws std::bad_alloc. */
  Context(const Transformer& transformer, int sequences);

  int sequences() const { return static_cast<int>(caches_.size()); }

 private:
  friend class Transformer;

  Memory stateMemory_;
  Memory cacheMemory_;
  RunState state_;
  std::vector<KvCache> caches_;
  std::vector<Sampler> samplers_;  // (threads)
};

}  // namespace llama2

#endif
