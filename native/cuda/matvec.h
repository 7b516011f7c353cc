/*
 * The core of every kernel here: rows of weights times one or more vectors of activations.
 *
 * Generating a token reads every weight once, so the time is the time to stream them from memory. Hence:
 *  - One warp computes R rows at a time (two that are needed together: a RoPE pair of q, or w1 and w3 for SwiGLU). Its
 *    lanes read consecutive 16-byte chunks, and each lane has kAhead * R loads in flight before it uses the first.
 *  - The first loads are issued before the wait for the previous kernel: weights do not depend on it.
 *  - All rows use the same activations, so each block stages them in shared memory, as float32, or as int8 when the
 *    weights are int8. A vector that does not fit is staged one tile after another.
 *  - Several tokens (of a prompt or a batch: up to C vectors) use the weights that a lane has loaded.
 *
 * A lane adds its products in index order, then the lanes of a warp are added as a tree. None of this depends on the
 * number of vectors, so a token's result does not depend on the other tokens of its batch.
 */
#ifndef LLAMA2_CUDA_MATVEC_H
#define LLAMA2_CUDA_MATVEC_H

#include "matrix.h"
#include "reduce.h"

namespace llama2::cuda {

constexpr int kAhead = 4;  // 16-byte loads of one row that a lane has in flight

/* Vectors that the batched version of a kernel takes at once: one for each warp of a block to reduce. */
constexpr int kColumns = kWarps;

/* The most values of a vector that shared memory holds: a multiple of what a warp reads at once in any precision. */
template <int C>
constexpr int kTile = C == 1 ? 11264 : 1024;

/* How the activations are split: one tile if they fit in shared memory, else tiles of whole groups. */
struct Tiling {
  int tile;         // values of a vector that are in shared memory at the same time
  int groupStride;  // scales of a vector there; 0 for fp32 and fp16
};

/* Activations in shared memory, (count, tile), followed for int8 by their scales, (count, groupStride). */
template <class W>
struct Columns {
  unsigned char* memory;
  Tiling tiling;
  int count;  // vectors, at most C

  /* 16 bytes of weights need kPer16 activations, kPer16 / 4 float4s. Part p of every such run is stored in plane p. */
  __device__ float4* floats(int c) const { return reinterpret_cast<float4*>(memory) + c * (tiling.tile / 4); }
  __device__ int8_t* bytes(int c) const { return reinterpret_cast<int8_t*>(memory) + c * tiling.tile; }
  __device__ float* scales(int c) const {
    return reinterpret_cast<float*>(memory + count * tiling.tile) + c * tiling.groupStride;
  }
};

/* The R rows of weights that a warp multiplies at the same time. */
template <int R>
struct Rows {
  const Matrix* matrix[R];
  int row[R];
};

/* The weights that a lane has loaded: kAhead chunks of 16 bytes from each row, 32 chunks apart. */
template <int R>
struct Tile {
  uint4 weights[R][kAhead];
};

/* Load this lane's 16-byte chunks of [first, end). */
template <class W, int R>
__device__ __forceinline__ void load(Tile<R>& t, const Rows<R>& rows, int first, int end) {
#pragma unroll
  for (int r = 0; r < R; r++) {
    const Matrix& w = *rows.matrix[r];
    const uint4* row = static_cast<const uint4*>(w.data) + static_cast<size_t>(rows.row[r]) * (w.stride / kPer16<W>);
#pragma unroll
    for (int a = 0; a < kAhead; a++) {
      const int v = first + 32 * a + laneOf();
      if (v < end) t.weights[r][a] = loadReadOnly(row + v);
    }
  }
}

/* sums += weights * activations, for fp32 and fp16. `start` is the chunk at which the tile in shared memory begins. */
template <class W, int R, int C>
__device__ __forceinline__ void multiply(float (&sums)[R][C], const Tile<R>& t, const Columns<W>& x, int first, int end,
                                         int start) {
  constexpr int kParts = kPer16<W> / 4;
#pragma unroll
  for (int a = 0; a < kAhead; a++) {
    const int v = first + 32 * a + laneOf();
    if (v >= end) break;
#pragma unroll
    for (int part = 0; part < kParts; part++) {
      float4 w[R];
#pragma unroll
      for (int r = 0; r < R; r++) w[r] = unpack<W>(t.weights[r][a], part);
#pragma unroll
      for (int c = 0; c < C; c++) {
        if (c >= x.count) break;
        const float4 value = x.floats(c)[part * (x.tiling.tile / kPer16<W>)+v - start];
#pragma unroll
        for (int r = 0; r < R; r++) {
          sums[r][c] = fmaf(w[r].x, value.x, sums[r][c]);
          sums[r][c] = fmaf(w[r].y, value.y, sums[r][c]);
          sums[r][c] = fmaf(w[r].z, value.z, sums[r][c]);
          sums[r][c] = fmaf(w[r].w, value.w, sums[r][c]);
        }
      }
    }
  }
}

__device__ __forceinline__ int word(const uint4& v, int k) {
  return static_cast<int>(k == 0 ? v.x : k == 1 ? v.y : k == 2 ? v.z : v.w);
}

/*
 * dotInt8 for groups that straddle rows or are not a power of two: one value at a time. Rare, so it is kept out of line
 * to keep the kernels small.
 */
static __device__ NOT_INLINED float dotStraddling(uint4 weights, uint4 values, int n, int groupSize, const float* ws,
                                                  int row, int column, const float* scales, int firstGroup) {
  const size_t index = static_cast<size_t>(row) * n + column;  // groups are counted through the whole tensor
  float sum = 0.0f;
#pragma unroll 1
  for (int k = 0; k < 16 && column + k < n; k++) {
    const int product = static_cast<int8_t>(word(weights, k / 4) >> 8 * (k % 4)) *
                        static_cast<int8_t>(word(values, k / 4) >> 8 * (k % 4));
    const float scale = ws[(index + k) / groupSize] * scales[(column + k) / groupSize - firstGroup];
    sum = fmaf(static_cast<float>(product), scale, sum);
  }
  return sum;
}

/*
 * The dot product of 16 int8 weights and 16 int8 activations, from column `column` on. Within one group the sum is an
 * exact integer; it is multiplied by the two scales once the group is complete.
 */
__device__ __forceinline__ float dotInt8(const uint4& weights, const uint4& values, const Matrix& w, int row,
                                         int column, const float* scales, int firstGroup) {
  const int shift = w.groupShift;
  if (shift == 0) {
    return dotStraddling(weights, values, w.n, w.groupSize, w.scales, row, column, scales, firstGroup);
  }
  const float* ws = w.scales + static_cast<size_t>(row) * (w.n >> shift);
  float sum = 0.0f;
  int dot = 0;
#pragma unroll
  for (int k = 0; k < 4; k++) {
    dot = __dp4a(word(weights, k), word(values, k), dot);
    const int next = column + 4 * (k + 1);
    if ((k == 3 || (next & ((1 << shift) - 1)) == 0) && next <= w.n) {  // the end of the group, or of these 16
      const int group = (next - 1) >> shift;
      sum = fmaf(static_cast<float>(dot), ws[group] * scales[group - firstGroup], sum);
      dot = 0;
    }
  }
  return sum;
}

template <int R, int C>
__device__ __forceinline__ void multiplyInt8(float (&sums)[R][C], const Tile<R>& t, const Rows<R>& rows,
                                             const Columns<int8_t>& x, int first, int end, int start) {
#pragma unroll
  for (int a = 0; a < kAhead; a++) {
    const int v = first + 32 * a + laneOf();
    if (v >= end) break;
#pragma unroll
    for (int c = 0; c < C; c++) {
      if (c >= x.count) break;
      const uint4 value = reinterpret_cast<const uint4*>(x.bytes(c))[v - start];
#pragma unroll
      for (int r = 0; r < R; r++) {
        const Matrix& w = *rows.matrix[r];
        sums[r][c] += dotInt8(t.weights[r][a], value, w, rows.row[r], 16 * v, x.scales(c), 16 * start / w.groupSize);
      }
    }
  }
}

/* Copy values [start, end) of all vectors into shared memory, with zeros past n. */
template <class W, class Value>
__device__ void stage(const Columns<W>& x, const Matrix& w, int start, int end, Value value) {
  constexpr int kParts = kPer16<W> / 4;
  for (int c = 0; c < x.count; c++) {
    float* floats = reinterpret_cast<float*>(x.floats(c));
    for (int j = start + static_cast<int>(threadIdx.x); j < end; j += kThreads) {
      const int k = j - start;
      const int plane = k / 4 % kParts * (x.tiling.tile / kParts);
      floats[plane + k / kPer16<W> * 4 + k % 4] = j < w.n ? value(c, j) : 0.0f;
    }
  }
}

/* The same, quantized to int8 as quantize.ts does: one warp per group. */
template <class Value>
__device__ void stageInt8(const Columns<int8_t>& x, const Matrix& w, int start, int end, Value value) {
  const int size = w.groupSize;
  for (int c = 0; c < x.count; c++) {
    for (int first = start + warpOf() * size; first < end; first += kWarps * size) {
      const int last = first + size < w.n ? first + size : w.n;
      float wmax = 0.0f;
      for (int j = first + laneOf(); j < last; j += 32) wmax = maxOrNan(wmax, fabsf(value(c, j)));
      const float scale = warpMax(wmax) / 127.0f;
      if (laneOf() == 0) x.scales(c)[(first - start) / size] = scale;
      for (int j = first + laneOf(); j < last; j += 32) {
        const float q = roundf(value(c, j) / scale);
        x.bytes(c)[j - start] = q == q ? static_cast<int8_t>(q) : int8_t{0};  // 0 / 0: the group is all zeros
      }
    }
    for (int j = (start > w.n ? start : w.n) + static_cast<int>(threadIdx.x); j < end; j += kThreads) {
      x.bytes(c)[j - start] = 0;
    }
  }
}

/*
 * Multiply `units` units of R rows by x.count vectors. The warps of the grid share the units.
 *
 *   rowsOf(unit)           the rows of a unit; all rows have the same n and stride
 *   prepare()              called by all threads once the previous kernel has ended; a barrier follows
 *   value(c, j)            element j of vector c
 *   finish(unit, c, sums)  called by one lane for each vector, with the R results
 */
template <class W, int R, int C, class RowsOf, class Prepare, class Value, class Finish>
__device__ __forceinline__ void matvec(int units, const Columns<W>& x, RowsOf rowsOf, Prepare prepare, Value value,
                                       Finish finish) {
  constexpr bool kInt8 = sizeof(W) == 1;
  const Matrix& shape = *rowsOf(0).matrix[0];
  const int vectors = shape.stride / kPer16<W>;
  const int tile = x.tiling.tile / kPer16<W>;  // in 16-byte chunks, as `vectors` is
  const int step = static_cast<int>(gridDim.x) * kWarps;
  const int mine = static_cast<int>(blockIdx.x) * kWarps + warpOf();

  letNextKernelStart();
  Tile<R> t;
  if (mine < units) load<W>(t, rowsOf(mine), 0, vectors < tile ? vectors : tile);
  waitForPreviousKernel();
  prepare();

  // all warps of a block run the same number of rounds, because they meet at the barriers below
  for (int round = 0; round * step < units; round++) {
    const int unit = round * step + mine;
    const bool busy = unit < units;
    const Rows<R> rows = rowsOf(busy ? unit : 0);
    float sums[R][C] = {};
    for (int start = 0; start < vectors; start += tile) {
      const int end = start + tile < vectors ? start + tile : vectors;
      if (round == 0 || tile < vectors) {
        __syncthreads();  // no warp still reads the previous tile; orders prepare's writes before their use
        if constexpr (kInt8) {
          stageInt8(x, shape, start * kPer16<W>, end * kPer16<W>, value);
        } else {
          stage(x, shape, start * kPer16<W>, end * kPer16<W>, value);
        }
        __syncthreads();  // orders what was staged before multiply reads it
      }
      if (!busy) continue;
      for (int first = start; first < end; first += 32 * kAhead) {
        if (round > 0 || first > 0) load<W>(t, rows, first, end);
        if constexpr (kInt8) {
          multiplyInt8(sums, t, rows, x, first, end, start);
        } else {
          multiply(sums, t, x, first, end, start);
        }
      }
    }
    if (!busy) continue;
#pragma unroll
    for (int c = 0; c < C; c++) {
      if (c >= x.count) break;
      float results[R];
#pragma unroll
      for (int r = 0; r < R; r++) results[r] = warpSum(sums[r][c]);
      if (laneOf() == c) finish(unit, c, results);
    }
  }
}

/*
 * rmsnorm of transformer.ts without the learned gains: only the factor of each vector. Every block computes the factors
 * itself, which costs a read of x and saves a kernel. The caller must put a barrier before it reads them.
 */
__device__ __forceinline__ void rmsnormFactors(float* factors,  // (count), in shared memory
                                               const float* x,  // (count, n)
                                               int n,
                                               int count,  // <= kColumns
                                               float eps) {
  SHARED(float, parts, [kColumns][kWarps]);
  for (int c = 0; c < count; c++) {
    float ss = 0.0f;
    for (int j = static_cast<int>(threadIdx.x); j < n; j += kThreads) {
      const float v = x[static_cast<size_t>(c) * n + j];
      ss = fmaf(v, v, ss);
    }
    ss = warpSum(ss);
    if (laneOf() == 0) parts[c][warpOf()] = ss;
  }
  __syncthreads();  // orders the writes of parts before the reads below
  if (static_cast<int>(threadIdx.x) < count) {
    float ss = 0.0f;
    for (int w = 0; w < kWarps; w++) ss += parts[threadIdx.x][w];
    factors[threadIdx.x] = 1.0f / sqrtf(ss / static_cast<float>(n) + eps);
  }
}

}  // namespace llama2::cuda

#endif
