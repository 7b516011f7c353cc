/*
 * The forward pass: `forward` of src/llama2/transformer.ts, as five kernels per layer. Everything is enqueued without
 * waiting, and no kernel argument changes from token to token, so one captured graph works for all of them.
 */
#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "classifier.h"
#include "context.h"
#include "embed.h"
#include "ffn.h"
#include "output.h"
#include "qkv.h"

namespace llama2::cuda {

namespace {

/* How C activation vectors of length `stride` (padded) are split into tiles. */
template <class W, int C>
Tiling tilingOf(int stride, int groupSize) {
  const bool int8 = sizeof(W) == 1;
  if (stride <= kTile<C>) return {stride, int8 ? stride / groupSize + 2 : 0};
  // a tile is a multiple of the group size and of what a warp reads at once
  const int unit = int8 ? std::lcm(32 * 16, groupSize) : kTile<C>;
  const int tile = kTile<C> / unit * unit;
  return {tile, int8 ? tile / groupSize + 2 : 0};
}

/* Bytes of shared memory for Columns<W>. */
template <class W>
size_t sharedOf(const Tiling& t, int columns) {
  const size_t each = sizeof(W) == 1 ? 1 : 4;
  return columns * (t.tile * each + 4 * static_cast<size_t>(t.groupStride));
}

/* Shared memory that every GPU gives a block, minus the kernels' static arrays. */
constexpr size_t kMostShared = (48 << 10) - (1 << 10);

/* Throws unless the groups divide every matrix and a tile of whole groups fits in shared memory. */
void requireGroups(const Config& p, const Options& o) {
  for (const int rows : {p.dim, p.kvDim(), p.hiddenDim, p.vocabSize}) {
    if (size_t(rows) * p.dim % o.groupSize != 0) throw std::invalid_argument("groups that do not divide a matrix");
  }
  const int longest = roundUp(std::max(p.dim, p.hiddenDim), 16);
  const bool cut = longest <= kTile<kColumns> || std::lcm(32 * 16, o.groupSize) <= kTile<kColumns>;
  if (cut && sharedOf<int8_t>(tilingOf<int8_t, 1>(longest, o.groupSize), 1) <= kMostShared &&
      sharedOf<int8_t>(tilingOf<int8_t, kColumns>(longest, o.groupSize), kColumns) <= kMostShared) {
    return;
  }
  throw Error(Code::kDeviceUnavailable, "the cuda backend cannot multiply int8 groups of " +
                                            std::to_string(o.groupSize) + " in a model of this size; fp16 weights can");
}

}  // namespace

void requireShape(const Config& p, const Options& o) {
  if (o.precision == Precision::kInt8) requireGroups(p, o);
  if (sizeof(float) * attentionFloats(roundUp(p.headSize(), 8), chunkOf(p)) <= kMostShared) return;
  throw Error(Code::kDeviceUnavailable, "the cuda backend cannot hold heads of " + std::to_string(p.headSize()) +
                                            " numbers at a context of " + std::to_string(p.seqLen));
}

/* One warp per unit, but no more blocks than run at once: each block stages the activations, and that costs time. */
int Context::Parts::blocks(int units) const {
  return std::min((units + kWarps - 1) / kWarps, kBlocksEach * transformer.multiprocessors);
}

template <class W, class Kv, int C>
void Context::Parts::layers(int count) {
  const bool early = transformer.early;
  const unsigned groups = static_cast<unsigned>((count + C - 1) / C);
  const auto how = [&](int units, const Tiling& t) {
    const size_t shared = sharedOf<W>(t, std::min(count, C));
    return Launch{dim3(static_cast<unsigned>(blocks(units)), groups), kThreads, shared, stream, early};
  };
  const int headSize = p.headSize();
  const Rope rope = {transformer.frequencies.get(), s.fcr.get(), s.fci.get(), headSize};
  const Entry* batch = s.entries.get();
  float* x = s.x.get();

  // copy the token embeddings into x, and compute RoPE's sines and cosines
  const Launch one = {dim3(static_cast<unsigned>(count)), kThreads, 0, stream, false};
  check(launch(one, embed<W>, w.tokenEmbeddingTable.matrix, batch, rope, x), "embed");

  // forward all the layers
  for (int l = 0; l < p.nLayers; l++) {
    // attention rmsnorm, qkv matmuls, RoPE, and the new keys and values into the cache
    const Matrix& wq = w.wq[l].matrix;
    const Tiling dim = tilingOf<W, C>(wq.stride, wq.groupSize);
    check(launch(how((p.dim + 2 * p.kvDim()) / 2, dim), qkv<W, Kv, C>, wq, w.wk[l].matrix, w.wv[l].matrix, x,
                 w.rmsAttWeight[l].get(), p.normEps, rope, batch, count, dim, s.q.get(), cache, l),
          "qkv");

    // multihead attention
    const dim3 grid(static_cast<unsigned>(partials.splits), static_cast<unsigned>(p.nHeads),
                    static_cast<unsigned>(count));
    const size_t shared = sizeof(float) * attentionFloats(cache.headStride, partials.chunk);
    check(launch(Launch{grid, kThreads, shared, stream, early}, attention<Kv>, s.q.get(), cache, l, headSize, batch,
                 partials),
          "attention");

    // final matmul of the attention, and the residual connection back into x
    check(launch(how(p.dim, dim), output<W, C>, w.wo[l].matrix, partials, headSize, batch, count, dim, x), "output");

    // ffn rmsnorm, w1 and w3, SwiGLU
    check(launch(how(p.hiddenDim, dim), ffnIn<W, C>, w.w1[l].matrix, w.w3[l].matrix, x, w.rmsFfnWeight[l].get(),
                 p.normEps, count, dim, s.hb.get()),
          "ffnIn");

    // final matmul to get the output of the ffn, and the residual connection
    const Matrix& w2 = w.w2[l].matrix;
    const Tiling hidden = tilingOf<W, C>(w2.stride, w2.groupSize);
    check(launch(how(p.dim, hidden), ffnOut<W, C>, w2, s.hb.get(), count, hidden, x), "ffnOut");
  }
}

template <class W, int C>
void Context::Parts::head(int first, int count) {
  const Tiling dim = tilingOf<W, C>(w.wcls.stride, w.wcls.groupSize);
  const dim3 grid(static_cast<unsigned>(blocks(p.vocabSize)), static_cast<unsigned>((count + C - 1) / C));
  const Launch how = {grid, kThreads, sharedOf<W>(dim, std::min(count, C)), stream, transformer.early};
  check(launch(how, classifier<W, C>, w.wcls, s.x.get() + static_cast<size_t>(first) * p.dim, w.rmsFinalWeight.get(),
               p.normEps, count, dim, s.logits.get(), s.best.get()),
        "classifier");
}

namespace {

/* Call `work` with a null pointer whose type is that of the weights. */
template <class F>
void withPrecision(Precision precision, F&& work) {
  if (precision == Precision::kFp32) return work(static_cast<float*>(nullptr));
  if (precision == Precision::kFp16) return work(static_cast<__half*>(nullptr));
  return work(static_cast<int8_t*>(nullptr));
}

template <class T>
using Of = std::remove_pointer_t<T>;

}  // namespace

void Context::Parts::forward(int count) {
  withPrecision(transformer.options.precision, [&](auto w) {
    using W = Of<decltype(w)>;
    const bool half = transformer.options.kvPrecision == KvPrecision::kFp16;
    if (count == 1) {
      half ? layers<W, __half, 1>(count) : layers<W, float, 1>(count);
    } else {
      half ? layers<W, __half, kColumns>(count) : layers<W, float, kColumns>(count);
    }
  });
}

/* The final rmsnorm and the logits of entries [first, first + count). */
void Context::Parts::classify(int first, int count) {
  withPrecision(transformer.options.precision, [&](auto w) {
    using W = Of<decltype(w)>;
    count == 1 ? head<W, 1>(first, count) : head<W, kColumns>(first, count);
  });
}

}  // namespace llama2::cuda
