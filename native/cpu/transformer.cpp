/* What a transformer and its contexts consist of, and where it lies in memory. */
#include "transformer.h"

#include <string.h>

#include <algorithm>

namespace llama2 {

namespace {

/* Every number of the weights, once: of a shared classifier too. Panels round rows up, hence size(). */
struct Sizes {
  size_t vector, dimDim, kvDimDim, hiddenDim, dimHidden, vocabDim, angles;

  explicit Sizes(const Config& p)
      : vector(p.dim),
        dimDim(Matrix::size(p.dim, p.dim)),
        kvDimDim(Matrix::size(p.kvDim(), p.dim)),
        hiddenDim(Matrix::size(p.hiddenDim, p.dim)),
        dimHidden(Matrix::size(p.dim, p.hiddenDim)),
        vocabDim(Matrix::size(p.vocabSize, p.dim)),
        angles(static_cast<size_t>(p.seqLen) * (p.headSize() / 2)) {}

  size_t bytes(int nLayers, bool sharedClassifier) const {
    const auto size = Memory::sizeFor<float>;
    const size_t layer = 2 * size(vector) + 2 * size(dimDim) + 2 * size(kvDimDim) + 2 * size(hiddenDim) + size(dimHidden);
    return nLayers * layer + (sharedClassifier ? 1 : 2) * size(vocabDim) + size(vector) + 2 * size(angles);
  }
};

/* What the caches of a processor hold for certain. */
constexpr size_t kCacheBytes = size_t{4} << 20;

constexpr int kMaxBatch = 64;

/* So many tokens at once that the weights are read rarely, but not so many that a pass takes longer than a blink. */
int maxBatchFor(const Config& p) {
  const double layer = 2.0 * p.dim * p.dim + 2.0 * p.dim * p.kvDim() + 3.0 * p.dim * p.hiddenDim;
  const double multiplications = p.nLayers * layer + static_cast<double>(p.vocabSize) * p.dim;
  return static_cast<int>(std::clamp(1e10 / multiplications, 8.0, static_cast<double>(kMaxBatch)));
}

}  // namespace

Transformer::Transformer(const Config& config, bool sharedClassifier, const float* fcr, const float* fci,
                         const Kernels& kernels, int threads)
    : config_(config),
      kernels_(kernels),
      streamed_(Sizes(config).bytes(config.nLayers, sharedClassifier) > kCacheBytes),
      memory_(Sizes(config).bytes(config.nLayers, sharedClassifier), Pages::kHuge),
      pool_(threads) {
  const Config& p = config_;
  const auto vector = [&] { return memory_.take<float>(p.dim); };
  const auto matrix = [&](int d, int n) { return Matrix{memory_.take<float>(Matrix::size(d, n)), d, n}; };
  // in the order in which a forward pass reads them
  TransformerWeights& w = weights_;
  w.tokenEmbeddingTable = matrix(p.vocabSize, p.dim);
  for (int l = 0; l < p.nLayers; l++) {
    w.rmsAttWeight.push_back(vector());
    w.wq.push_back(matrix(p.dim, p.dim));
    w.wk.push_back(matrix(p.kvDim(), p.dim));
    w.wv.push_back(matrix(p.kvDim(), p.dim));
    w.wo.push_back(matrix(p.dim, p.dim));
    w.rmsFfnWeight.push_back(vector());
    w.w1.push_back(matrix(p.hiddenDim, p.dim));
    w.w3.push_back(matrix(p.hiddenDim, p.dim));
    w.w2.push_back(matrix(p.dim, p.hiddenDim));
  }
  w.rmsFinalWeight = vector();
  w.wcls = sharedClassifier ? w.tokenEmbeddingTable : matrix(p.vocabSize, p.dim);

  const size_t angles = static_cast<size_t>(p.seqLen) * (p.headSize() / 2);
  fcr_ = memory_.take<float>(angles);
  fci_ = memory_.take<float>(angles);
  memcpy(fcr_, fcr, angles * sizeof(float));
  memcpy(fci_, fci, angles * sizeof(float));
}

bool Transformer::fill(const std::string& name, int layer, const float* values, size_t count, size_t offset) {
  TransformerWeights& w = weights_;
  const auto vector = [&](float* to) {
    const size_t size = config_.dim;
    if (offset > size || count > size - offset) return false;
    std::copy_n(values, count, to + offset);
    return true;
  };
  const auto matrix = [&](Matrix& to) {
    const size_t size = static_cast<size_t>(to.d) * to.n;
    if (offset > size || count > size - offset) return false;
    to.fill(values, count, offset);
    return true;
  };
  if (layer < 0 || layer >= config_.nLayers) return false;
  if (name == "tokenEmbeddingTable") return matrix(w.tokenEmbeddingTable);
  if (name == "rmsAttWeight") return vector(w.rmsAttWeight[layer]);
  if (name == "wq") return matrix(w.wq[layer]);
  if (name == "wk") return matrix(w.wk[layer]);
  if (name == "wv") return matrix(w.wv[layer]);
  if (name == "wo") return matrix(w.wo[layer]);
  if (name == "rmsFfnWeight") return vector(w.rmsFfnWeight[layer]);
  if (name == "w1") return matrix(w.w1[layer]);
  if (name == "w2") return matrix(w.w2[layer]);
  if (name == "w3") return matrix(w.w3[layer]);
  if (name == "rmsFinalWeight") return vector(w.rmsFinalWeight);
  if (name == "wcls") return matrix(w.wcls);
  return false;
}

// ----------------------------------------------------------------------------
// contexts

namespace {

/* The stride of a row of scores. */
size_t attStride(const Config& p) { return static_cast<size_t>(panelsOf(p.seqLen)) * kPanel; }

size_t keyCacheSize(const Config& p) { return static_cast<size_t>(p.nLayers) * p.nKvHeads * Matrix::size(p.seqLen, p.headSize()); }

size_t valueCacheSize(const Config& p) {
  return static_cast<size_t>(p.nLayers) * p.nKvHeads * Matrix::size(p.headSize(), p.seqLen);
}

size_t cacheBytes(const Config& p) {
  return Memory::sizeFor<float>(keyCacheSize(p)) + Memory::sizeFor<float>(valueCacheSize(p));
}

size_t stateBytes(const Config& p, int maxBatch, int threads) {
  const auto rows = [&](int size) { return Memory::sizeFor<float>(static_cast<size_t>(maxBatch) * size); };
  return 4 * rows(p.dim) + 2 * rows(p.hiddenDim) + 2 * rows(p.kvDim()) +
         Memory::sizeFor<float>(static_cast<size_t>(threads) * p.nHeads * attStride(p));
}

}  // namespace

Context::Context(const Transformer& transformer, int sequences)
    : maxBatch_(maxBatchFor(transformer.config())),
      stateMemory_(stateBytes(transformer.config(), maxBatch_, transformer.threads()), Pages::kLazy),
      cacheMemory_(cacheBytes(transformer.config()) * sequences, Pages::kLazy) {
  const Config& p = transformer.config();
  const auto rows = [&](int size) { return stateMemory_.take<float>(static_cast<size_t>(maxBatch_) * size); };
  state_.x = rows(p.dim);
  state_.xb = rows(p.dim);
  state_.xb2 = rows(p.dim);
  state_.q = rows(p.dim);
  state_.hb = rows(p.hiddenDim);
  state_.hb2 = rows(p.hiddenDim);
  state_.k = rows(p.kvDim());
  state_.v = rows(p.kvDim());
  state_.att = stateMemory_.take<float>(static_cast<size_t>(transformer.threads()) * p.nHeads * attStride(p));
  for (int i = 0; i < sequences; i++) {
    float* keyCache = cacheMemory_.take<float>(keyCacheSize(p));
    caches_.push_back({keyCache, cacheMemory_.take<float>(valueCacheSize(p))});
  }
}

}  // namespace llama2
