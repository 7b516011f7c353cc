/*
 * The first stage of a layer: attention rmsnorm, the query, key and value matmuls, RoPE, and storing the new key and
 * value in the cache.
 *
 * Reads dim * (dim + 2 kvDim) weights. It is one kernel because a kernel launch costs about as much as reading a small
 * layer. A warp computes two consecutive rows: RoPE rotates them as a pair, so the pair never goes through memory.
 */
#ifndef LLAMA2_CUDA_QKV_H
#define LLAMA2_CUDA_QKV_H

#include "embed.h"
#include "kv_cache.h"
#include "matvec.h"

namespace llama2::cuda {

/*
 * blockIdx.y selects C of the `count` vectors. The entries are distinct in (sequence, pos), each inside the cache;
 * embed() has filled rope.fcr and rope.fci.
 */
template <class W, class Kv, int C>
__global__ void __launch_bounds__(kThreads) qkv(Matrix wq,           // (dim, dim)
                                                Matrix wk,           // (kvDim, dim)
                                                Matrix wv,           // (kvDim, dim)
                                                const float* x,      // (count, dim)
                                                const float* gains,  // (dim)
                                                float eps, Rope rope,
                                                const Entry* entries,  // (count)
                                                int count,
                                                Tiling tiling,  // of dim
                                                float* q,       // (count, dim)
                                                KvCache cache, int layer) {
  SHARED(float, factors, [kColumns]);
  const int firstColumn = static_cast<int>(blockIdx.y) * C;
  const Columns<W> columns = {sharedMemory(), tiling, count - firstColumn < C ? count - firstColumn : C};
  const int dim = wq.d;
  const int kvDim = wk.d;
  x += static_cast<size_t>(firstColumn) * dim;
  entries += firstColumn;
  q += static_cast<size_t>(firstColumn) * dim;

  const auto rowsOf = [&](int pair) {
    const int i = 2 * pair;
    if (i < dim) return Rows<2>{{&wq, &wq}, {i, i + 1}};
    if (i < dim + kvDim) return Rows<2>{{&wk, &wk}, {i - dim, i - dim + 1}};
    return Rows<2>{{&wv, &wv}, {i - dim - kvDim, i - dim - kvDim + 1}};
  };
  const auto prepare = [&] { rmsnormFactors(factors, x, dim, columns.count, eps); };
  const auto value = [&](int c, int j) { return gains[j] * (factors[c] * x[static_cast<size_t>(c) * dim + j]); };
  const auto finish = [&](int pair, int c, const float* v) {
    const Rows<2> rows = rowsOf(pair);
    const int i = rows.row[0];
    const Entry entry = entries[c];
    float v0 = v[0];
    float v1 = v[1];
    if (rows.matrix[0] != &wv) {
      const size_t angle = static_cast<size_t>(firstColumn + c) * (rope.headSize / 2) + i % rope.headSize / 2;
      const float fcr = rope.fcr[angle];
      const float fci = rope.fci[angle];
      v0 = v[0] * fcr - v[1] * fci;
      v1 = v[0] * fci + v[1] * fcr;
    }
    if (rows.matrix[0] == &wq) {
      q[static_cast<size_t>(c) * dim + i] = v0;
      q[static_cast<size_t>(c) * dim + i + 1] = v1;
    } else {
      Kv* to = static_cast<Kv*>(rows.matrix[0] == &wk ? cache.keys : cache.values) +
               cache.offset(entry.sequence, layer, i / rope.headSize, entry.pos) + i % rope.headSize;
      store(to, v0);
      store(to + 1, v1);
    }
  };
  matvec<W, 2, C>((dim + 2 * kvDim) / 2, columns, rowsOf, prepare, value, finish);
}

}  // namespace llama2::cuda

#endif
