/*
 * The third stage of a layer: put the parts of attention together, mix what the heads have found (wo), and add it to
 * the residual stream x.
 *
 * Moves dim * dim weights. Each block combines the parts anew, which costs it `splits` reads of dim floats from L2 and
 * saves a kernel.
 */
#ifndef LLAMA2_CUDA_OUTPUT_H
#define LLAMA2_CUDA_OUTPUT_H

#include "attention.h"
#include "matvec.h"

namespace llama2::cuda {

/* Number i of what head `head` of an entry has found, from its parts: a sum in the order of positions. */
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

/* Columns from blockIdx.y * C on, of `count`. */
template <class W, int C>
__global__ void __launch_bounds__(kThreads)
    output(Matrix wo, Partials partials, int headSize, const Entry* entries, int count, Tiling tiling, float* x) {
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
