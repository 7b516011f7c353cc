/*
 * Matrices as kernels see them.
 *
 * A (d, n) matrix is stored row by row. Each row is padded with zeros to a multiple of 16 values, so that in every
 * precision it can be read in aligned 16-byte chunks and no kernel needs special code for the end of a row.
 */
#ifndef LLAMA2_CUDA_MATRIX_H
#define LLAMA2_CUDA_MATRIX_H

#include <string.h>

#include "gpu.h"

namespace llama2::cuda {

struct Matrix {
  void* data;     // (d, stride) of float, __half or int8_t
  float* scales;  // (d * n / groupSize, rounded up) for int8_t, else null
  int d, n;
  int stride;      // n, rounded up to 16
  int groupSize;   // int8_t: consecutive values, counted across rows, that share a scale
  int groupShift;  // log2(groupSize) if that is an integer >= 2 and no group straddles two rows; else 0
};

constexpr int roundUp(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

/* How many values of type W fit in 16 bytes. */
template <class W>
constexpr int kPer16 = 16 / static_cast<int>(sizeof(W));

/* Four of the values in 16 bytes, from number 4 * part on, as float. */
template <class W>
__device__ __forceinline__ float4 unpack(const uint4& bytes, int part);
__device__ __forceinline__ float halfOf(unsigned bits) {
  const uint16_t low = static_cast<uint16_t>(bits);
  __half h;
  memcpy(&h, &low, sizeof h);
  return __half2float(h);
}
template <>
__device__ __forceinline__ float4 unpack<float>(const uint4& v, int) {
  return make_float4(__uint_as_float(v.x), __uint_as_float(v.y), __uint_as_float(v.z), __uint_as_float(v.w));
}
template <>
__device__ __forceinline__ float4 unpack<__half>(const uint4& v, int part) {
  const unsigned low = part == 0 ? v.x : v.z;
  const unsigned high = part == 0 ? v.y : v.w;
  return make_float4(halfOf(low), halfOf(low >> 16), halfOf(high), halfOf(high >> 16));
}

/* One element of a matrix. The unused pointer selects the precision. */
__device__ __forceinline__ float at(const Matrix& w, const float*, int row, int column) {
  return static_cast<const float*>(w.data)[static_cast<size_t>(row) * w.stride + column];
}
__device__ __forceinline__ float at(const Matrix& w, const __half*, int row, int column) {
  return __half2float(static_cast<const __half*>(w.data)[static_cast<size_t>(row) * w.stride + column]);
}
__device__ __forceinline__ float at(const Matrix& w, const int8_t*, int row, int column) {
  const size_t index = static_cast<size_t>(row) * w.n + column;
  return static_cast<float>(static_cast<const int8_t*>(w.data)[static_cast<size_t>(row) * w.stride + column]) *
         w.scales[index / w.groupSize];
}

}  // namespace llama2::cuda

#endif
