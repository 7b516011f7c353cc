/*
 * x (count, dim) = the rows of the embedding table that the entries' tokens name.
 *
 * Moves dim weights and dim floats an entry: nothing beside a layer. A kernel of its own because all blocks of the
 * first layer read x.
 */
#ifndef LLAMA2_CUDA_EMBED_H
#define LLAMA2_CUDA_EMBED_H

#include "matrix.h"
#include "model.h"
#include "reduce.h"

namespace llama2::cuda {

/* A block for each entry. */
template <class W>
__global__ void embed(Matrix table, const Entry* entries, float* x) {
  letNextKernelStart();
  waitForPreviousKernel();
  const W* precision = nullptr;
  const int entry = static_cast<int>(blockIdx.x);
  for (int i = static_cast<int>(threadIdx.x); i < table.n; i += kThreads) {
    x[static_cast<size_t>(entry) * table.n + i] = at(table, precision, entries[entry].token, i);
  }
}

}  // namespace llama2::cuda

#endif
