/*
 * The transformer in native code: what src/llama2/transformer.ts says, with its names, for a batch of tokens and
 * several threads. The TypeScript is the place to learn what happens and why; here is how it happens fast.
 */
#ifndef LLAMA2_CPU_TRANSFORMER_H
#define LLAMA2_CPU_TRANSFORMER_H

#include <stdint.h>

#include <string>
#include <vector>

#include "kernels.h"
#include "memory.h"
#include "thread_pool.h"

namespace llama2 {

struct Config {
  int dim;
  int hiddenDim;
  int nLayers;
  int nHeads;
  int nKvHeads;
  int vocabSize;
  int seqLen;
  float normEps;

  int headSize() const { return dim / nHeads; }
  int kvDim() const { return headSize() * nKvHeads; }
  int kvMul() const { return nHeads / nKvHeads; }
};

/* A matrix of d rows and n columns, in panels. */
struct Matrix {
  float* data;  // (ceil(d / 16), n, 16)
  int d;
  int n;

  size_t panelStride() const { return static_cast<size_t>(n) * kPanel; }
  static size_t size(int d, int n) { return static_cast<size_t>(panelsOf(d)) * n * kPanel; }

  /* Put the next `count` numbers into place. They follow each other row by row, and the first belongs at `offset`. */
  void fill(const float* values, size_t count, size_t offset);
  /* xout (n) = row `row` */
  void copyRow(float* xout, int row) const;
};

struct TransformerWeights {
  Matrix tokenEmbeddingTable;         // (vocabSize, dim)
  std::vector<float*> rmsAttWeight;   // (nLayers, dim)
  std::vector<Matrix> wq;             // (nLayers, dim, dim)
  std::vector<Matrix> wk;             // (nLayers, kvDim, dim)
  std::vector<Matrix> wv;             // (nLayers, kvDim, dim)
  std::vector<Matrix> wo;             // (nLayers, dim, dim)
  std::vector<float*> rmsFfnWeight;   // (nLayers, dim)
  std::vector<Matrix> w1;             // (nLayers, hiddenDim, dim)
  std::vector<Matrix> w2;             // (nLayers, dim, hiddenDim)
  std::vector<Matrix> w3;             // (nLayers, hiddenDim, dim)
  float* rmsFinalWeight;              // (dim)
  Matrix wcls;                        // (vocabSize, dim); may be tokenEmbeddingTable
};

/* A token to read: which, where it stands, and in which sequence of the context. */
struct Entry {
  int32_t token;
  int32_t pos;
  int32_t sequence;
};

/* Which entries' logits a forward pass computes. */
enum class Wanted { kNone, kLast, kAll };

class Context;

/* The weights, and the threads that work with them. One forward pass at a time, whatever the context. */
class Transformer {
 public:
  /*
   * fcr and fci are the cosines and sines of the RoPE angles, (seqLen, headSize / 2) each, from `ropeAngles`.
   * Throws std::bad_alloc, std::system_error.
   */
  Transformer(const Config& config, bool sharedClassifier, const float* fcr, const float* fci, const Kernels& kernels,
              int threads);

  /*
   * Put the next numbers of a tensor into place, by its name in TransformerWeights and its layer. The numbers are
   * in the order of the checkpoint, and `offset` says how many came before. Returns false, and does nothing, if
   * there is no such tensor or it is not that large.
   */
  bool fill(const std::string& name, int layer, const float* values, size_t count, size_t offset);

  /*
   * Read the entries of a batch, at most context.maxBatch(), and write the wanted logits, (rows, vocabSize).
   * The caller has checked that tokens, positions and sequences are in range.
   */
  void forward(Context& context, const Entry* batch, int count, Wanted wanted, float* logits) noexcept;

  const Config& config() const { return config_; }
  const Kernels& kernels() const { return kernels_; }
  int threads() const { return pool_.threads(); }

 private:
  class Pass;

  const Config config_;
  const Kernels& kernels_;
  const bool streamed_;  // the weights are more than the caches hold
  Memory memory_;
  TransformerWeights weights_;
  float* fcr_;  // (seqLen, headSize / 2)
  float* fci_;  // (seqLen, headSize / 2)
  ThreadPool pool_;
};

/* Where the keys and values of one sequence lie, as matrices that attention multiplies with. */
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

/* The numbers of a batch of tokens on their way, a row for each: RunState of transformer.ts. */
struct RunState {
  float* x;       // (maxBatch, dim)
  float* xb;      // (maxBatch, dim)
  float* xb2;     // (maxBatch, dim)
  float* hb;      // (maxBatch, hiddenDim)
  float* hb2;     // (maxBatch, hiddenDim)
  float* q;       // (maxBatch, dim)
  float* k;       // (maxBatch, kvDim)
  float* v;       // (maxBatch, kvDim)
  float* att;     // (threads, nHeads, seqLen)
};

/* Sequences being read. It must not outlive its transformer's use, and is used by one thread at a time. */
class Context {
 public:
  /* Throws std::bad_alloc. */
  Context(const Transformer& transformer, int sequences);

  int sequences() const { return static_cast<int>(caches_.size()); }
  int maxBatch() const { return maxBatch_; }

 private:
  friend class Transformer;

  const int maxBatch_;
  Memory stateMemory_;
  Memory cacheMemory_;
  RunState state_;
  std::vector<KvCache> caches_;
};

}  // namespace llama2

#endif
