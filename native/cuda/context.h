/* The implementation of Context: caches, the state of a forward pass, and the graphs for decoding. */
#ifndef LLAMA2_CUDA_CONTEXT_H
#define LLAMA2_CUDA_CONTEXT_H

#include <map>
#include <utility>

#include "attention.h"
#include "draw.h"
#include "transformer.h"

namespace llama2::cuda {

constexpr int kMaxSteps = 64;      // steps of one decode()
constexpr int32_t kPending = -2;   // marks a token that has not been chosen yet
constexpr int kLeastChunk = 64;    // fewest positions per block of attention
constexpr int kMostChunk = 8192;   // most positions: their scores are in shared memory
constexpr int kSplits = 8;         // blocks per head, unless a chunk would exceed kMostChunk
constexpr size_t kMostGraphs = 8;  // graphs that a context keeps
constexpr int kBlocksEach = 4;     // most blocks of a matvec kernel per multiprocessor

/* Positions per block of attention. A function of the model alone, so that no result depends on the batch. */
inline int chunkOf(const Config& p) {
  const int even = roundUp((p.seqLen + kSplits - 1) / kSplits, 32);
  return even < kLeastChunk ? kLeastChunk : even > kMostChunk ? kMostChunk : even;
}

/* RunState of transformer.ts, with one row for each token of a batch. */
struct RunState {
  Buffer<Entry> entries;                // (maxBatch)
  Buffer<float> x;                      // (maxBatch, dim)
  Buffer<float> q;                      // (maxBatch, dim)
  Buffer<float> hb;                     // (maxBatch, hiddenDim)
  Buffer<float> fcr, fci;               // (maxBatch, headSize / 2)
  Buffer<float> attM, attL, attValues;  // Partials of attention.h
  Buffer<float> logits;                 // (maxBatch, vocabSize)
  Buffer<uint64_t> best;                // (maxBatch, blocks of the classifier)
  Buffer<Draw> draws;                   // (slots)
  Buffer<float> terms;                  // (slots, vocabSize)
  Buffer<uint64_t> keys;                // (slots, vocabSize, rounded up to a power of two)
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
  Pinned<Entry> entries;                                   // (maxBatch) staging in both directions
  Pinned<Draw> draws;                                      // (slots)
  Pinned<int32_t> tokens;                                  // (kMaxSteps, slots) written by the device
  std::map<std::pair<int, bool>, cudaGraphExec_t> graphs;  // key: sequences, all greedy?
  int decoding = 0;                                        // sequences of the current decode()

  Parts(Transformer::Parts& transformer, int slots);
  ~Parts();

  void send(const Entry* batch, int count);
  /* Enqueue forward of transformer.ts for s.entries: up to the final residual stream; then final rmsnorm and logits. */
  void forward(int count);
  void classify(int first, int count);
  void sample(int count, bool greedy);
  cudaGraphExec_t graphOf(int count, bool greedy);
  void forgetGraphs();
  /* The grid size for a matvec of so many units. */
  int blocks(int units) const;

 private:
  template <class W, class Kv, int C>
  void layers(int count);
  template <class W, int C>
  void head(int first, int count);
};

}  // namespace llama2::cuda

#endif
