/*
 * Weights on their way in: from the order of the checkpoint, in pieces, into the rows and the precision of a Matrix.
 * Bound by the transfer before it, so each is as plain as can be.
 */
#ifndef LLAMA2_CUDA_CONVERT_H
#define LLAMA2_CUDA_CONVERT_H

#include "matrix.h"
#include "reduce.h"

namespace llama2::cuda {

/* `count` numbers of a tensor, of which `offset` come before. */
template <class W>
__global__ void convert(Matrix to, const float* from, int count, size_t offset) {
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i >= count) return;
  const size_t row = (offset + i) / to.n;
  const size_t place = row * to.stride + (offset + i) % to.n;
  if constexpr (sizeof(W) == 4) {
    static_cast<float*>(to.data)[place] = from[i];
  } else {
    static_cast<__half*>(to.data)[place] = __float2half_rn(from[i]);
  }
}

/* Whole groups to int8, a warp for each: as the exporter does, halves to even. */
static __global__ void quantizeGroups(Matrix to, const float* from, int count, size_t offset) {
  const int size = to.groupSize;
  const int first = (static_cast<int>(blockIdx.x) * kWarps + warpOf()) * size;
  if (first >= count) return;
  float wmax = 0.0f;
  for (int i = first + laneOf(); i < first + size; i += 32) wmax = maxOrNan(wmax, fabsf(from[i]));
  const float scale = warpMax(wmax) / 127.0f;
  if (laneOf() == 0) to.scales[(offset + first) / size] = scale;
  for (int i = first + laneOf(); i < first + size; i += 32) {
    const float q = rintf(from[i] / scale);
    const size_t place = (offset + i) / to.n * to.stride + (offset + i) % to.n;
    static_cast<int8_t*>(to.data)[place] = q == q ? static_cast<int8_t>(q) : int8_t{0};
  }
}

/* Numbers that are int8 already. */
static __global__ void copyInt8(Matrix to, const int8_t* from, int count, size_t offset) {
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i >= count) return;
  static_cast<int8_t*>(to.data)[(offset + i) / to.n * to.stride + (offset + i) % to.n] = from[i];
}

}  // namespace llama2::cuda

#endif
