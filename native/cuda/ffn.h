/*
 * The feed-forward network, w2(silu(w1(x)) * w3(x)): the last two stages of a layer.
 *
 * ffnIn reads 2 * dim * hiddenDim weights and includes the rmsnorm; ffnOut reads hiddenDim * dim and adds to the
 * residual stream x. They are two kernels because every output of the second needs all outputs of the first.
 */
#ifndef LLAMA2_CUDA_FFN_H
#define LLAMA2_CUDA_FFN_H

#include "matvec.h"

namespace llama2::cuda {

/*
 * hb = silu(w1(norm x)) * w3(norm x). Each warp computes the same row of both matrices. blockIdx.y selects C of the
 * `count` vectors.
 */
template <class W, int C>
__global__ void __launch_bounds__(kThreads) ffnIn(Matrix w1,           // (hiddenDim, dim)
                                                  Matrix w3,           // (hiddenDim, dim)
                                                  const float* x,      // (count, dim)
                                                  const float* gains,  // (dim)
                                                  float eps, int count,
                                                  Tiling tiling,  // of dim
                                                  float* hb) {    // (count, hiddenDim)
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

/* x += w2(hb). blockIdx.y selects C of the `count` vectors. */
template <class W, int C>
__global__ void __launch_bounds__(kThreads) ffnOut(Matrix w2,        // (dim, hiddenDim)
                                                   const float* hb,  // (count, hiddenDim)
                                                   int count,
                                                   Tiling tiling,  // of hiddenDim
                                                   float* x) {     // (count, dim)
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
