/*
 * The feed-forward network, w2(silu(w1(x)) * w3(x)), in the last two stages of a layer.
 *
 * ffnIn moves 2 * dim * hiddenDim weights, with the rmsnorm before them; ffnOut hiddenDim * dim, and adds to the
 * residual stream x. They are two kernels because every number of the second needs all of the first.
 */
#ifndef LLAMA2_CUDA_FFN_H
#define LLAMA2_CUDA_FFN_H

#include "matvec.h"

namespace llama2::cuda {

/* hb (count, hiddenDim) = silu(w1(norm x)) * w3(norm x). A warp takes the same row of both. */
template <class W, int C>
__global__ void __launch_bounds__(kThreads)
    ffnIn(Matrix w1, Matrix w3, const float* x, const float* gains, float eps, int count, Tiling tiling, float* hb) {
  SHARED(float, factors, [kColumns]);
  const int firstColumn = static_cast<int>(blockIdx.y) * C;
  const Columns<W> columns = {sharedMemory(), tiling, count - firstColumn < C ? count - firstColumn : C};
  const int dim = w1.n;
  x += static_cast<size_t>(firstColumn) * dim;

  matvec<W, 2, C>(
      w1.d, columns,
      [&](int row) {
        return Rows<2>{{&w1, &w3}, {row, row}};
      },
      [&] { rmsnormFactors(factors, x, dim, columns.count, eps); },
      [&](int c, int j) { return gains[j] * (factors[c] * x[static_cast<size_t>(c) * dim + j]); },
      [&](int row, int c, const float* v) {
        const float silu = v[0] * (1.0f / (1.0f + expf(-v[0])));
        hb[static_cast<size_t>(firstColumn + c) * w1.d + row] = silu * v[1];
      });
}

/* x (count, dim) += w2(hb) */
template <class W, int C>
__global__ void __launch_bounds__(kThreads) ffnOut(Matrix w2, const float* hb, int count, Tiling tiling, float* x) {
  const int firstColumn = static_cast<int>(blockIdx.y) * C;
  const Columns<W> columns = {sharedMemory(), tiling, count - firstColumn < C ? count - firstColumn : C};

  matvec<W, 1, C>(
      w2.d, columns,
      [&](int row) {
        return Rows<1>{{&w2}, {row}};
      },
      [] {}, [&](int c, int j) { return hb[static_cast<size_t>(firstColumn + c) * w2.n + j]; },
      [&](int row, int c, const float* v) { x[static_cast<size_t>(firstColumn + c) * w2.d + row] += v[0]; });
}

}  // namespace llama2::cuda

#endif
