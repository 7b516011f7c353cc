/*
 * A sequence that goes on from another's: the keys and values of a prefix are copied, not computed again.
 *
 * Moves 2 * kvDim numbers a layer and position, once in and once out.
 */
#ifndef LLAMA2_CUDA_COPY_H
#define LLAMA2_CUDA_COPY_H

#include "kv_cache.h"
#include "reduce.h"

namespace llama2::cuda {

/* Copy the first positions of one slot to another, bit for bit. A block for each head of each layer. */
static __global__ void __launch_bounds__(kThreads)
    copySlot(KvCache cache, int bytesEach, int from, int to, int positions) {
  const int layer = static_cast<int>(blockIdx.x) / cache.nKvHeads;
  const int head = static_cast<int>(blockIdx.x) % cache.nKvHeads;
  const size_t vectors = static_cast<size_t>(positions) * cache.headStride * bytesEach / sizeof(uint4);
  const auto rows = [&](void* numbers, int slot) {
    return reinterpret_cast<uint4*>(static_cast<unsigned char*>(numbers) +
                                    cache.offset(slot, layer, head, 0) * bytesEach);
  };
  for (size_t i = threadIdx.x; i < vectors; i += kThreads) {
    rows(cache.keys, to)[i] = rows(cache.keys, from)[i];
    rows(cache.values, to)[i] = rows(cache.values, from)[i];
  }
}

}  // namespace llama2::cuda

#endif
