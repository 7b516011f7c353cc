/* What is behind Context: caches, the state of a forward pass, and the graphs that decode. */
#ifndef LLAMA2_CUDA_CONTEXT_H
#define LLAMA2_CUDA_CONTEXT_H

#include <map>
#include <utility>

#include "attention.h"
#include "draw.h"
#include "transformer.h"

namespace llama2::cuda {

constexpr int kMaxSteps = 64;      // of one decode()
constexpr int32_t kPending = -2;   // a token that is not there yet
constexpr int kLeastChunk = 64;    // positions that a block of attention looks at, at least
constexpr int kMostChunk = 8192;   // and at most: their scores lie in shared memory
constexpr int kSplits = 8;         // blocks that share a head, unless chunks would be too large
constexpr size_t kMostGraphs = 8;  // that a context keeps
constexpr int kBlocksEach = 4;     // blocks of a matvec for each multiprocessor, at most

/* How attention is split: by the model and its context, so that no result depends on the batch. */
inline int chunkOf(const Config& p) {
  const int even = roundUp((p.seqLen + kSplits - 1) / kSplits, 32);
  return even < kLeastChunk ? kLeastChunk : even > kMostChunk ? kMostChunk : even;
}

/* The numbers of a batch of tokens on their way, a row for each: RunState of transformer.ts. */
struct RunState {
  Buffer<Entry> entries;                // (maxBatch)
  Buffer<float> x;                      // (maxBatch, dim)
  Buffer<float> q;                      // (maxBatch, dim)
  Buffer<float> hb;                     // (maxBatch, hiddenDim)
  Buffer<float> fcr, fci;               // (maxBatch, headSize / 2)
  Buffer<float> attM, attL, attValues;  // see Partials
  Buffer<float> logits;                 // (maxBatch, vocabSize)
  Buffer<uint64_t> best;                // (maxBatch, blocks of the classifier)
  Buffer<Draw> draws;                   // (slots)
  Buffer<float> terms;                  // (slots, vocabSize)
  Buffer<uint64_t> keys;                // (slots, vocabSize rounded up to a power of two)
  Buffer<int> step;                     // (slots)
};

struct Context::Parts {
  Transformer::Parts& transformer;
  const Config& p;
  const TransformerWeights& w;
  const cudaStream_t stream;
  const int slots, maxBatch;
  RunState s;
  Buffer<uint8_t> keys, values;
  KvCache cache;
  Partials partials;
  Pinned<Entry> entries;                                   // (maxBatch) on their way in and out
  Pinned<Draw> draws;                                      // (slots)
  Pinned<int32_t> tokens;                                  // (kMaxSteps, slots) on their way out
  std::map<std::pair<int, bool>, cudaGraphExec_t> graphs;  // by sequences, and whether they are all greedy
  int decoding = 0;                                        // sequences

  Parts(Transformer::Parts& transformer, int slots);
  ~Parts();

  void send(const Entry* batch, int count);
  /* Enqueue what transformer.ts calls forward, without and with its end. */
  void forward(int count);
  void classify(int first, int count);
  void sample(int count, bool greedy);
  cudaGraphExec_t graphOf(int count, bool greedy);
  void forgetGraphs();
  /* Of a grid that multiplies so many rows or pairs of them. */
  int blocks(int units) const;

 private:
  template <class W, class Kv, int C>
  void layers(int count);
  template <class W, int C>
  void head(int first, int count);
};

}  // namespace llama2::cuda

#endif
