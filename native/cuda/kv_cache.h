/*
 * The keys and values of all sequences. Each sequence has a slot; in it, every head has one row per position, padded
 * with zeros to a multiple of 8 values.
 */
#ifndef LLAMA2_CUDA_KV_CACHE_H
#define LLAMA2_CUDA_KV_CACHE_H

#include "matrix.h"

namespace llama2::cuda {

struct KvCache {
  void* keys;    // (slots, nLayers, nKvHeads, seqLen, headStride) of float or __half
  void* values;  // (slots, nLayers, nKvHeads, seqLen, headStride) of the same type
  int nLayers, nKvHeads, seqLen;
  int headStride;  // headSize, rounded up to 8

  __host__ __device__ size_t size(int slots) const { return offset(slots, 0, 0, 0); }
  /* The index of the first value of a row. */
  __host__ __device__ size_t offset(int slot, int layer, int head, int pos) const {
    const size_t heads = (static_cast<size_t>(slot) * nLayers + layer) * nKvHeads + head;
    return (heads * seqLen + pos) * headStride;
  }
};

__device__ __forceinline__ void store(float* to, float value) { *to = value; }
__device__ __forceinline__ void store(__half* to, float value) { *to = __float2half_rn(value); }

__device__ __forceinline__ float4 load4(const float* from) { return *reinterpret_cast<const float4*>(from); }
__device__ __forceinline__ float4 load4(const __half* from) {
  const uint2 bytes = *reinterpret_cast<const uint2*>(from);
  return unpack<__half>(make_uint4(bytes.x, bytes.y, 0, 0), 0);
}

}  // namespace llama2::cuda

#endif
