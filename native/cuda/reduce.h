/* Sums and maxima over a warp, always in the same order, so that every run gives the same bits. */
#ifndef LLAMA2_CUDA_REDUCE_H
#define LLAMA2_CUDA_REDUCE_H

#include "gpu.h"

namespace llama2::cuda {

/* Threads per block, in every kernel except the sampler: enough to hide loads, few enough to spread small layers. */
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

__device__ __forceinline__ int laneOf() { return static_cast<int>(threadIdx.x % 32); }
__device__ __forceinline__ int warpOf() { return static_cast<int>(threadIdx.x / 32); }

/* The sum over this lane's group of `width` consecutive lanes. Every lane gets the result. */
template <int width = 32, class T>
__device__ __forceinline__ T warpSum(T value) {
#pragma unroll
  for (int mask = width / 2; mask > 0; mask /= 2) value += shuffleXor(value, mask);
  return value;
}

/* The larger one, or NaN if either is NaN: a broken model must not look as if it worked. */
__device__ __forceinline__ float maxOrNan(float a, float b) { return b > a || b != b ? b : a; }

__device__ __forceinline__ float warpMax(float value) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) value = maxOrNan(value, shuffleXor(value, mask));
  return value;
}

__device__ __forceinline__ uint64_t warpMax(uint64_t value) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const uint64_t other = shuffleXor(value, mask);
    if (other > value) value = other;
  }
  return value;
}

}  // namespace llama2::cuda

#endif
