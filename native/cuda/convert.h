/*
 * Loading weights: pieces of a tensor, in checkpoint order, into the padded rows and the precision of a Matrix. The
 * transfer to the device is the bottleneck, so these kernels are as simple as possible.
 */
#ifndef LLAMA2_CUDA_CONVERT_H
#define LLAMA2_CUDA_CONVERT_H

#include "matrix.h"
#include "reduce.h"

namespace llama2::cuda {

/* Elements [offset, offset + count) of a tensor, to float32 or fp16. Grid: one thread per element. */
template <class W>
__global__ void convert(Matrix to,          // (d, n)
                        const float* from,  // (count)
                        int count, size_t offset) {
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

/* The same to int8, rounding halves to even as the exporter does. Grid: one warp per group. */
static __global__ void quantizeGroups(Matrix to,          // (d, n) of int8_t
                                      const float* from,  // (count)
                                      int count,          // a multiple of to.groupSize
                                      size_t offset) {    // a multiple of to.groupSize
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

/* The same for elements that are int8 already; their scales are copied by the host. Grid: one thread per element. */
static __global__ void copyInt8(Matrix to,           // (d, n) of int8_t
                                const int8_t* from,  // (count)
                                int count, size_t offset) {
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i >= count) return;
  static_cast<int8_t*>(to.data)[(offset + i) / to.n * to.stride + (offset + i) % to.n] = from[i];
}

}  // namespace llama2::cuda

#endif
