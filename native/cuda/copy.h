/*
 * A sequence that shares a prefix with another: its keys and values are copied instead of computed again.
 *
 * Reads and writes 2 * kvDim values per layer and position.
 */
#ifndef LLAMA2_CUDA_COPY_H
#define LLAMA2_CUDA_COPY_H

#include "kv_cache.h"
#include "reduce.h"

namespace llama2::cuda {

/* Copy the first positions of slot `from` to slot `to`, bit for bit. Grid: (nLayers * nKvHeads). */
static __global__ void __launch_bounds__(kThreads) copySlot(KvCache cache,
                                                            int bytesEach,     // of a value: 4 or 2
                                                            int from, int to,  // two different slots
                                                            int positions) {   // <= cache.seqLen
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
