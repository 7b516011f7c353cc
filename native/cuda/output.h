/*
 * The third stage of a layer: combine the partial results of attention, multiply by wo, and add to the residual stream
 * x.
 *
 * Reads dim * dim weights. Every block combines the partial results itself, which costs `splits` reads of dim floats
 * from L2 and saves a kernel.
 */
#ifndef LLAMA2_CUDA_OUTPUT_H
#define LLAMA2_CUDA_OUTPUT_H

#include "attention.h"
#include "matvec.h"

namespace llama2::cuda {

/* Element i of one head's output for an entry: its partial results, added in the order of positions. */
__device__ __forceinline__ float combined(const Partials& partials, int entry, int pos, int nHeads, int head,
                                          int headSize, int i) {
  const size_t first = partials.index(entry, nHeads, head, 0);
  const int splits = pos / partials.chunk + 1;
  float m = partials.m[first];
  for (int s = 1; s < splits; s++) m = maxOrNan(m, partials.m[first + s]);
  float sum = 0.0f;
  float l = 0.0f;
  for (int s = 0; s < splits; s++) {
    const float weight = expf(partials.m[first + s] - m);
    sum = fmaf(weight, partials.values[(first + s) * headSize + i], sum);
    l = fmaf(weight, partials.l[first + s], l);
  }
  return sum / l;
}

/* x += wo(attention). blockIdx.y selects C of the `count` vectors. */
template <class W, int C>
__global__ void __launch_bounds__(kThreads) output(Matrix wo,  // (dim, dim)
                                                   Partials partials, int headSize,
                                                   const Entry* entries,  // (count)
                                                   int count,
                                                   Tiling tiling,  // of dim
                                                   float* x) {     // (count, dim)
  const int firstColumn = static_cast<int>(blockIdx.y) * C;
  const Columns<W> columns = {sharedMemory(), tiling, count - firstColumn < C ? count - firstColumn : C};
  const int dim = wo.d;

  matvec<W, 1, C>(
      dim, columns,
      [&](int row) {
        return Rows<1>{{&wo}, {row}};
      },
      [] {},
      [&](int c, int j) {
        const int entry = firstColumn + c;
        return combined(partials, entry, entries[entry].pos, dim / headSize, j / headSize, headSize, j % headSize);
      },
      [&](int row, int c, const float* v) { x[static_cast<size_t>(firstColumn + c) * dim + row] += v[0]; });
}

}  // namespace llama2::cuda

#endif
