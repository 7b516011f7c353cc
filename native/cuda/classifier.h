/*
 * The end of a forward pass: the final rmsnorm, and the classifier into logits; on the way, the best token of each
 * block, so that a greedy sampler need not read the logits again.
 *
 * Moves vocabSize * dim weights: in a small model more than all layers.
 */
#ifndef LLAMA2_CUDA_CLASSIFIER_H
#define LLAMA2_CUDA_CLASSIFIER_H

#include "matvec.h"

namespace llama2::cuda {

/* In the place of a logit that is NaN or infinite. */
constexpr unsigned kNotFinite = 0xffffffffu;

/*
 * A logit and its token as one number: the larger, the better. Above the bits of the logit, put into the order of
 * unsigned integers; below the token turned round, so that the lower one wins a tie. Never 0. What is not finite comes
 * first, so that it does not go unnoticed.
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

/* Columns from blockIdx.y * C on, of `count`. best (count, gridDim.x) */
template <class W, int C>
__global__ void __launch_bounds__(kThreads) classifier(Matrix wcls, const float* x, const float* gains, float eps,
                                                       int count, Tiling tiling, float* logits, uint64_t* best) {
  SHARED(float, factors, [kColumns]);
  SHARED(uint64_t, bests, [kWarps][kColumns]);
  const int firstColumn = static_cast<int>(blockIdx.y) * C;
  const Columns<W> columns = {sharedMemory(), tiling, count - firstColumn < C ? count - firstColumn : C};
  const int dim = wcls.n;
  x += static_cast<size_t>(firstColumn) * dim;
  uint64_t mine = 0;  // lane c: of column c

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
