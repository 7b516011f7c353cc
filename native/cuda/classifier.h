/*
 * The end of a forward pass: final rmsnorm and classifier. Each block also records the best token that it saw, so that
 * a greedy sampler need not read the logits again.
 *
 * Reads vocabSize * dim weights: in a small model more than all layers together.
 */
#ifndef LLAMA2_CUDA_CLASSIFIER_H
#define LLAMA2_CUDA_CLASSIFIER_H

#include "matvec.h"

namespace llama2::cuda {

/* Stands for a logit that is NaN or infinite. */
constexpr unsigned kNotFinite = 0xffffffffu;

/*
 * A logit and its token as one integer: the larger, the better. The upper half holds the logit's bits, mapped so that
 * unsigned comparison orders them; the lower half holds the inverted token, so that the lower token wins a tie. Never
 * 0. A logit that is not finite beats all others, so that it is noticed.
 */
__device__ __forceinline__ uint64_t candidate(float logit, int token) {
  const unsigned bits = __float_as_uint(logit == 0.0f ? 0.0f : logit);  // -0 equals 0
  const unsigned ordered = !(fabsf(logit) < INFINITY) ? kNotFinite : (bits & 0x80000000u) ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(ordered) << 32 | (0xffffffffu - static_cast<unsigned>(token));
}
__device__ __forceinline__ int tokenOf(uint64_t candidate) {
  return static_cast<int>(0xffffffffu - static_cast<unsigned>(candidate));
}
__device__ __forceinline__ bool isFinite(uint64_t candidate) { return candidate >> 32 != kNotFinite; }

/* blockIdx.y selects C of the `count` vectors. */
template <class W, int C>
__global__ void __launch_bounds__(kThreads) classifier(Matrix wcls,         // (vocabSize, dim)
                                                       const float* x,      // (count, dim)
                                                       const float* gains,  // (dim)
                                                       float eps, int count,
                                                       Tiling tiling,     // of dim
                                                       float* logits,     // (count, vocabSize)
                                                       uint64_t* best) {  // (count, gridDim.x) candidates
  SHARED(float, factors, [kColumns]);
  SHARED(uint64_t, bests, [kWarps][kColumns]);
  const int firstColumn = static_cast<int>(blockIdx.y) * C;
  const Columns<W> columns = {sharedMemory(), tiling, count - firstColumn < C ? count - firstColumn : C};
  const int dim = wcls.n;
  x += static_cast<size_t>(firstColumn) * dim;
  uint64_t mine = 0;  // in lane c: the best of vector c

  matvec<W, 1, C>(
      wcls.d, columns,
      [&](int row) {
        return Rows<1>{{&wcls}, {row}};
      },
      [&] { rmsnormFactors(factors, x, dim, columns.count, eps); },
      [&](int c, int j) { return gains[j] * (factors[c] * x[static_cast<size_t>(c) * dim + j]); },
      [&](int row, int c, const float* v) {
        logits[static_cast<size_t>(firstColumn + c) * wcls.d + row] = v[0];
        const uint64_t here = candidate(v[0], row);
        if (here > mine) mine = here;
      });

  if (laneOf() < columns.count) bests[warpOf()][laneOf()] = mine;
  __syncthreads();  // orders the writes of bests before the reads below
  const int c = static_cast<int>(threadIdx.x);
  if (c < columns.count) {
    for (int w = 1; w < kWarps; w++) mine = bests[w][c] > mine ? bests[w][c] : mine;
    best[static_cast<size_t>(firstColumn + c) * gridDim.x + blockIdx.x] = mine;
  }
}

}  // namespace llama2::cuda

#endif
