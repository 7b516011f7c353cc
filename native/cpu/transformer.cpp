/* The data of a transformer and its contexts, and their layout in memory. */
#include "transformer.h"

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>

namespace llama2 {

namespace {

/* What certainly fits into a core's own caches, and into all caches together. */
constexpr size_t kNearBytes = size_t{4} << 20;
constexpr size_t kCacheBytes = size_t{16} << 20;

#if defined(__x86_64__)
bool isIntel() {
  __builtin_cpu_init();
  return __builtin_cpu_is("intel");
}

/* AMD's family 25: Zen 3, and with AVX-512 Zen 4. */
bool isFamily25() {
  __builtin_cpu_init();
  unsigned version, ebx, ecx, edx;
  if (!__builtin_cpu_is("amd") || !__get_cpuid(1, &version, &ebx, &ecx, &edx)) return false;
  return (version >> 8 & 15) + (version >> 20 & 255) == 25;
}
#else
bool isIntel() { return false; }
bool isFamily25() { return false; }
#endif

/*
 * The fastest way to read weights of this size, as measured.
 * Zen 5, one token: from the last cache one stream, which prefetching makes 1.2 times slower; from memory, prefetching
 * is 1.06 to 1.15 times as fast. Several tokens: from the last cache several panels at once are up to 1.15 times as
 * fast, from memory prefetching 1.2 times.
 * Zen 3, which has no AVX-512: one token, several panels at once are 1.2 to 1.4 times as fast as one, and prefetching
 * makes them slower. Several tokens: prefetching is 1.1 to 1.3 times as fast.
 * Zen 4: as Zen 5, but from memory one or two tokens too are read as one stream; prefetching makes them 1.1 to 1.5
 * times slower. More tokens: prefetching is 1.0 to 1.5 times as fast.
 * Intel's Sapphire Rapids: one token, four panels at once are 1.2 to 1.4 times as fast as one. Prefetching into the
 * first cache adds 4 to 8 %.
 */
Reading readingOf(const Kernels& kernels, size_t bytes, int tokens) {
  if (bytes <= kNearBytes) return Reading::kPanels;
  if (isIntel()) return Reading::kPanelsAhead;
  if (strcmp(kernels.name, "avx512") != 0) return tokens == 1 ? Reading::kPanels : Reading::kPanelsAhead;
  if (bytes > kCacheBytes) return isFamily25() && tokens <= 2 ? Reading::kOneStream : Reading::kAhead;
  return tokens == 1 ? Reading::kOneStream : Reading::kPanels;
}

// ----------------------------------------------------------------------------
// weights

/* In the order in which a forward pass reads them. */
TransformerWeights layOutWeights(Parts& memory, const Config& p, bool sharedClassifier, const GroupSizes& g) {
  const auto vector = [&] { return memory.take<float>(p.dim); };
  const auto matrix = [&](int d, int n, int groupSize) { return Matrix(memory, d, n, groupSize); };
  TransformerWeights w;
  w.tokenEmbeddingTable = matrix(p.vocabSize, p.dim, g.tokenEmbeddingTable);
  for (int l = 0; l < p.nLayers; l++) {
    w.rmsAttWeight.push_back(vector());
    w.wq.push_back(matrix(p.dim, p.dim, g.wq));
    w.wk.push_back(matrix(p.kvDim(), p.dim, g.wk));
    w.wv.push_back(matrix(p.kvDim(), p.dim, g.wv));
    w.wo.push_back(matrix(p.dim, p.dim, g.wo));
    w.rmsFfnWeight.push_back(vector());
    w.w1.push_back(matrix(p.hiddenDim, p.dim, g.w1));
    w.w3.push_back(matrix(p.hiddenDim, p.dim, g.w3));
    w.w2.push_back(matrix(p.dim, p.hiddenDim, g.w2));
  }
  w.rmsFinalWeight = vector();
  w.wcls = sharedClassifier ? w.tokenEmbeddingTable : matrix(p.vocabSize, p.dim, g.wcls);
  return w;
}

size_t weightBytes(const Config& p, bool sharedClassifier, const GroupSizes& groupSizes) {
  Parts counted;
  layOutWeights(counted, p, sharedClassifier, groupSizes);
  return counted.bytes();
}

/* Enough tokens at once that the weights are read rarely, but few enough that a pass stays short. */
int maxBatchFor(const Config& p) {
  const double layer = 2.0 * p.dim * p.dim + 2.0 * p.dim * p.kvDim() + 3.0 * p.dim * p.hiddenDim;
  const double multiplications = p.nLayers * layer + static_cast<double>(p.vocabSize) * p.dim;
  return static_cast<int>(std::clamp(1e10 / multiplications, 8.0, static_cast<double>(kMaxBatch)));
}

}  // namespace

Matrix* TransformerWeights::matrix(const std::string& name, int layer) {
  if (name == "tokenEmbeddingTable") return &tokenEmbeddingTable;
  if (name == "wq") return &wq[layer];
  if (name == "wk") return &wk[layer];
  if (name == "wv") return &wv[layer];
  if (name == "wo") return &wo[layer];
  if (name == "w1") return &w1[layer];
  if (name == "w2") return &w2[layer];
  if (name == "w3") return &w3[layer];
  if (name == "wcls") return &wcls;
  return nullptr;
}

float* TransformerWeights::vector(const std::string& name, int layer) {
  if (name == "rmsAttWeight") return rmsAttWeight[layer];
  if (name == "rmsFfnWeight") return rmsFfnWeight[layer];
  if (name == "rmsFinalWeight") return rmsFinalWeight;
  return nullptr;
}

Transformer::Transformer(const Config& config, bool sharedClassifier, const GroupSizes& groupSizes,
                         const float* frequencies, const Kernels& kernels, int threads)
    : config_(config),
      groupSizes_(groupSizes),
      kernels_(kernels),
      bytes_(weightBytes(config, sharedClassifier, groupSizes)),
      readings_{readingOf(kernels, bytes_, 1), readingOf(kernels, bytes_, 2), readingOf(kernels, bytes_, 3)},
      maxBatch_(maxBatchFor(config)),
      memory_(bytes_, Pages::kHuge),
      frequencies_(frequencies, frequencies + config.headSize() / 2),
      pool_(threads) {
  Parts parts(memory_);
  weights_ = layOutWeights(parts, config, sharedClassifier, groupSizes);
}

int Transformer::groupSizeOf(const std::string& name) const {
  const Matrix* matrix = const_cast<TransformerWeights&>(weights_).matrix(name, 0);
  return matrix == nullptr ? 0 : matrix->groupSize;
}

bool Transformer::fill(const std::string& name, int layer, const float* values, size_t count, size_t offset) {
  if (layer < 0 || layer >= config_.nLayers) return false;
  const auto fits = [&](size_t size) { return offset <= size && count <= size - offset; };
  if (float* vector = weights_.vector(name, layer)) {
    if (!fits(config_.dim)) return false;
    std::copy_n(values, count, vector + offset);
    return true;
  }
  Matrix* matrix = weights_.matrix(name, layer);
  if (matrix == nullptr || matrix->groupSize != 0 || !fits(static_cast<size_t>(matrix->d) * matrix->n)) return false;
  matrix->fill(values, count, offset);
  return true;
}

bool Transformer::fillQuantized(const std::string& name, int layer, const int8_t* values, const float* scales,
                                size_t count, size_t offset) {
  if (layer < 0 || layer >= config_.nLayers) return false;
  Matrix* matrix = weights_.matrix(name, layer);
  if (matrix == nullptr || matrix->groupSize == 0) return false;
  if (count % matrix->groupSize != 0 || offset % matrix->groupSize != 0) return false;
  const size_t size = static_cast<size_t>(matrix->d) * matrix->n;
  if (offset > size || count > size - offset) return false;
  matrix->fillQuantized(values, scales, count, offset);
  return true;
}

// ----------------------------------------------------------------------------
// contexts

namespace {

/* Room for the longest vector that an int8 matrix is multiplied with, in the groups that need the most. */
struct Rounded {
  bool interleaved = false;  // some matrix is float32
  size_t bytes = 0;          // of a vector
  size_t segments = 0;

  void meets(int n, int groupSize) {
    if (groupSize == 0) {
      interleaved = true;
      return;
    }
    const Segments needed = segmentsOf(n, groupSize);
    bytes = std::max(bytes, needed.bytes() / 4 * kMostQuadBytes);
    segments = std::max(segments, static_cast<size_t>(needed.count));
  }
};

Rounded roundedFor(const Config& p, const GroupSizes& g) {
  Rounded rounded;
  for (const int groupSize : {g.tokenEmbeddingTable, g.wq, g.wk, g.wv, g.wo, g.w1, g.w3, g.wcls}) {
    rounded.meets(p.dim, groupSize);
  }
  rounded.meets(p.hiddenDim, g.w2);
  return rounded;
}

RunState layOutState(Parts& memory, const Config& p, const GroupSizes& groupSizes, int maxBatch, int threads) {
  const auto rows = [&](size_t size) { return memory.take<float>(maxBatch * size); };
  const size_t ownRows = std::max(maxBatch, threads);  // with a single token, one a thread
  RunState s = {};
  s.x = rows(p.dim);
  s.xn = memory.take<float>(ownRows * p.dim);
  s.xb = rows(p.dim);
  s.xb2 = rows(p.dim);
  s.hb = rows(p.hiddenDim);
  s.hb2 = rows(p.hiddenDim);
  s.q = rows(p.dim);
  s.k = rows(p.kvDim());
  s.v = rows(p.kvDim());
  s.fcr = rows(p.headSize() / 2);
  s.fci = rows(p.headSize() / 2);
  s.att = memory.take<float>(static_cast<size_t>(threads) * scoreRows(p) * attStride(p));
  const Rounded rounded = roundedFor(p, groupSizes);
  if (rounded.interleaved) s.xi = rows(std::max(p.dim, p.hiddenDim));
  s.xqStride = wholeLines<int8_t>(rounded.bytes);
  s.xsStride = wholeLines<float>(rounded.segments);
  s.xq = memory.take<int8_t>(ownRows * s.xqStride);
  s.xs = memory.take<float>(ownRows * s.xsStride);
  s.xsum = memory.take<int32_t>(ownRows * s.xsStride);
  return s;
}

size_t stateBytes(const Config& p, const GroupSizes& groupSizes, int maxBatch, int threads) {
  Parts counted;
  layOutState(counted, p, groupSizes, maxBatch, threads);
  return counted.bytes();
}

std::vector<KvCache> layOutCaches(Parts& memory, const Config& p, int sequences) {
  const size_t heads = static_cast<size_t>(p.nLayers) * p.nKvHeads;
  std::vector<KvCache> caches(sequences);
  for (KvCache& cache : caches) {
    cache.keyCache = memory.take<float>(heads * Matrix::size(p.seqLen, p.headSize()));
    cache.valueCache = memory.take<float>(heads * Matrix::size(p.headSize(), p.seqLen));
  }
  return caches;
}

size_t cacheBytes(const Config& p, int sequences) {
  Parts counted;
  layOutCaches(counted, p, 1);
  return counted.bytes() * sequences;
}

}  // namespace

MemoryNeeds estimateMemory(const Config& p, bool sharedClassifier, const GroupSizes& groupSizes, int threads) {
  return {weightBytes(p, sharedClassifier, groupSizes), cacheBytes(p, 1),
          stateBytes(p, groupSizes, maxBatchFor(p), threads) + threads * Sampler::bytes(p.vocabSize)};
}

Context::Context(const Transformer& transformer, int sequences)
    : stateMemory_(
          stateBytes(transformer.config(), transformer.groupSizes(), transformer.maxBatch(), transformer.threads()),
          Pages::kLazy),
      cacheMemory_(cacheBytes(transformer.config(), sequences), Pages::kLazy),
      samplers_(transformer.threads(), Sampler(transformer.kernels(), transformer.config().vocabSize)) {
  Parts state(stateMemory_);
  state_ =
      layOutState(state, transformer.config(), transformer.groupSizes(), transformer.maxBatch(), transformer.threads());
  Parts caches(cacheMemory_);
  caches_ = layOutCaches(caches, transformer.config(), sequences);
}

void Transformer::copy(Context& context, int from, int to, int positions) noexcept {
  if (from == to) return;
  const Config& p = config_;
  const KvCache& source = context.caches_[from];
  const KvCache& target = context.caches_[to];
  const size_t heads = static_cast<size_t>(p.nLayers) * p.nKvHeads;
  // keys: the positions of a head follow each other, in whole panels
  const size_t keyStride = Matrix::size(p.seqLen, p.headSize());
  const size_t keys = Matrix::size(positions, p.headSize());
  for (size_t head = 0; head < heads; head++) {
    std::copy_n(source.keyCache + head * keyStride, keys, target.keyCache + head * keyStride);
  }
  // values: each panel of a head's numbers has the positions one after the other
  const size_t panelStride = static_cast<size_t>(p.seqLen) * kPanel;
  const size_t values = static_cast<size_t>(positions) * kPanel;
  const size_t panels = heads * panelsOf(p.headSize());
  for (size_t panel = 0; panel < panels; panel++) {
    std::copy_n(source.valueCache + panel * panelStride, values, target.valueCache + panel * panelStride);
  }
}

void Transformer::trace(const Context& context, int sequence, int pos, float* keys, float* values) const noexcept {
  const Config& p = config_;
  const KvCache& cache = context.caches_[sequence];
  const int headSize = p.headSize();
  const size_t panel = pos / kPanel;
  const size_t heads = static_cast<size_t>(p.nLayers) * p.nKvHeads;
  for (size_t head = 0; head < heads; head++) {
    // a row of the keys' matrix, and a column of the values'
    const float* key = cache.keyCache + head * Matrix::size(p.seqLen, headSize) + panel * headSize * kPanel;
    const float* value = cache.valueCache + head * Matrix::size(headSize, p.seqLen) + static_cast<size_t>(pos) * kPanel;
    for (size_t i = 0; i < static_cast<size_t>(headSize); i++) {
      keys[head * headSize + i] = key[i * kPanel + pos % kPanel];
      values[head * headSize + i] = value[i / kPanel * p.seqLen * kPanel + i % kPanel];
    }
  }
}

}  // namespace llama2
