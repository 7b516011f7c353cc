/*
 * The start of a forward pass: copy the embedding of each entry's token into x, and compute the RoPE sines and cosines
 * of its position.
 *
 * Reads dim weights per entry, which is little next to a layer. It is a kernel of its own because all blocks of the
 * first layer read x. The angles are computed here, once per token, because they take double arithmetic, which is slow
 * on most GPUs.
 */
#ifndef LLAMA2_CUDA_EMBED_H
#define LLAMA2_CUDA_EMBED_H

#include "../config.h"
#include "../rope.h"
#include "matrix.h"
#include "reduce.h"

namespace llama2::cuda {

struct Rope {
  const float* frequencies;  // (headSize / 2)
  float* fcr;                // (count, headSize / 2) cosines
  float* fci;                // (count, headSize / 2) sines
  int headSize;
};

/* Grid: (count). Every token is < vocabSize. */
template <class W>
__global__ void embed(Matrix table,          // (vocabSize, dim)
                      const Entry* entries,  // (count)
                      Rope rope,
                      float* x) {  // (count, dim)
  letNextKernelStart();
  waitForPreviousKernel();
  const W* precision = nullptr;
  const int entry = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < table.n; i += kThreads) {
    x[static_cast<size_t>(entry) * table.n + i] = at(table, precision, entries[entry].token, i);
  }
  const int pairs = rope.headSize / 2;
  for (int pair = thread; pair < pairs; pair += kThreads) {
    const float angle = static_cast<float>(entries[entry].pos) * rope.frequencies[pair];
    rope.fcr[static_cast<size_t>(entry) * pairs + pair] = quarterTurns(angle, 1);
    rope.fci[static_cast<size_t>(entry) * pairs + pair] = quarterTurns(angle, 0);
  }
}

}  // namespace llama2::cuda

#endif
