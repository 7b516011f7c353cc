/* Transformer: allocates the weights, and converts them from checkpoint order and precision to the device's. */
#include <string.h>

#include <algorithm>

#include "convert.h"
#include "transformer.h"

namespace llama2::cuda {

namespace {

constexpr size_t kStaged = size_t{1} << 20;  // most values per transfer

size_t bytesOf(Precision precision) {
  return precision == Precision::kFp32 ? 4 : precision == Precision::kFp16 ? 2 : 1;
}

size_t scalesOf(const Options& options, int d, int n) {
  if (options.precision != Precision::kInt8) return 0;
  return (static_cast<size_t>(d) * n + options.groupSize - 1) / options.groupSize;
}

size_t matrixBytes(const Options& options, int d, int n) {
  return static_cast<size_t>(d) * roundUp(n, 16) * bytesOf(options.precision) + 4 * scalesOf(options, d, n);
}

int shiftOf(int groupSize, int n) {
  int shift = 0;
  while (groupSize > 0 && 1 << shift < groupSize) shift++;
  return shift >= 2 && 1 << shift == groupSize && n % groupSize == 0 ? shift : 0;
}

OwnedMatrix allocate(const Stream& stream, const Options& options, int d, int n) {
  const int stride = roundUp(n, 16);
  const size_t bytes = static_cast<size_t>(d) * stride * bytesOf(options.precision);
  OwnedMatrix m;
  m.data = Buffer<uint8_t>(bytes);
  if (stride != n) stream.clear(m.data.get(), bytes);  // the padding of rows
  if (options.precision == Precision::kInt8) m.scales = Buffer<float>(scalesOf(options, d, n));
  m.matrix = {m.data.get(), m.scales.get(), d, n, stride, options.groupSize, shiftOf(options.groupSize, n)};
  return m;
}

}  // namespace

/* Matrices, norms, RoPE frequencies and the two staging buffers. */
size_t weightBytes(const Config& p, const Options& o) {
  const size_t layer = matrixBytes(o, p.dim, p.dim) * 2 + matrixBytes(o, p.kvDim(), p.dim) * 2 +
                       matrixBytes(o, p.hiddenDim, p.dim) * 2 + matrixBytes(o, p.dim, p.hiddenDim) + 8 * size_t(p.dim);
  const size_t tables = matrixBytes(o, p.vocabSize, p.dim) * (o.sharedClassifier ? 1 : 2);
  const size_t frequencies = size_t{2} * p.headSize();
  return layer * p.nLayers + tables + 4 * size_t(p.dim) + frequencies + 2 * 8 * kStaged;
}

Transformer::Parts::Parts(const Config& c, const Options& o) : config(c), options(o) {
  const auto matrices = [&](int d, int n) {
    std::vector<OwnedMatrix> all;
    for (int l = 0; l < c.nLayers; l++) all.push_back(allocate(stream, o, d, n));
    return all;
  };
  const auto vectors = [&] {
    std::vector<Buffer<float>> all;
    for (int l = 0; l < c.nLayers; l++) all.emplace_back(c.dim);
    return all;
  };
  w.tokenEmbeddingTable = allocate(stream, o, c.vocabSize, c.dim);
  w.rmsAttWeight = vectors();
  w.wq = matrices(c.dim, c.dim);
  w.wk = matrices(c.kvDim(), c.dim);
  w.wv = matrices(c.kvDim(), c.dim);
  w.wo = matrices(c.dim, c.dim);
  w.rmsFfnWeight = vectors();
  w.w1 = matrices(c.hiddenDim, c.dim);
  w.w2 = matrices(c.dim, c.hiddenDim);
  w.w3 = matrices(c.hiddenDim, c.dim);
  w.rmsFinalWeight = Buffer<float>(c.dim);
  if (!o.sharedClassifier) w.wclsOwned = allocate(stream, o, c.vocabSize, c.dim);
  w.wcls = o.sharedClassifier ? w.tokenEmbeddingTable.matrix : w.wclsOwned.matrix;
  frequencies = Buffer<float>(c.headSize() / 2);
  for (Staging& s : staging) {
    s.host = Pinned<uint8_t>(8 * kStaged);
    s.device = Buffer<uint8_t>(8 * kStaged);
    check(cudaEventCreateWithFlags(&s.sent, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  }
}

Transformer::Parts::~Parts() {
  for (Staging& s : staging) cudaEventDestroy(s.sent);
}

constexpr int kOldestCompute = 75;  // 7.5: Turing

Transformer::Transformer(const Config& config, const Options& options, const float* frequencies) {
  requireShape(config, options);
  freeMemory(options.device);  // makes it current for this thread, or throws
  const Device device = devices()[options.device];
  if (10 * device.computeMajor + device.computeMinor < kOldestCompute) {
    throw Error(Code::kDeviceUnavailable, device.name + " is older than Turing, the oldest GPU that can run this");
  }
  requireFree(weightBytes(config, options), "the model");
  parts_.reset(new Parts(config, options));
  int driver = 0, runtime = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  parts_->multiprocessors = device.multiprocessors;
  // graphs keep programmatic dependent launches since CUDA 12.3
  parts_->early = device.computeMajor >= 9 && std::min(driver, runtime) >= 12030;
  parts_->stream.toDevice(parts_->frequencies.get(), frequencies, config.headSize() / 2);
  parts_->stream.wait();
}
Transformer::~Transformer() = default;
const Config& Transformer::config() const { return parts_->config; }
const Options& Transformer::options() const { return parts_->options; }

OwnedMatrix* Transformer::Parts::findMatrix(const std::string& name, int layer) {
  const auto of = [&](std::vector<OwnedMatrix>& all) -> OwnedMatrix* {
    return layer >= 0 && layer < config.nLayers ? &all[layer] : nullptr;
  };
  if (name == "tokenEmbeddingTable" && layer == 0) return &w.tokenEmbeddingTable;
  if (name == "wcls" && layer == 0 && !options.sharedClassifier) return &w.wclsOwned;
  if (name == "wq") return of(w.wq);
  if (name == "wk") return of(w.wk);
  if (name == "wv") return of(w.wv);
  if (name == "wo") return of(w.wo);
  if (name == "w1") return of(w.w1);
  if (name == "w2") return of(w.w2);
  if (name == "w3") return of(w.w3);
  return nullptr;
}

float* Transformer::Parts::findVector(const std::string& name, int layer) {
  if (name == "rmsFinalWeight" && layer == 0) return w.rmsFinalWeight.get();
  if (layer < 0 || layer >= config.nLayers) return nullptr;
  if (name == "rmsAttWeight") return w.rmsAttWeight[layer].get();
  if (name == "rmsFfnWeight") return w.rmsFfnWeight[layer].get();
  return nullptr;
}

/* Whether [offset, offset + count) are the next elements of that tensor; if so, expect those after them. */
bool Transformer::Parts::begin(const std::string& name, int layer, size_t size, size_t count, size_t offset) {
  const std::string asked = name + " " + std::to_string(layer);
  if (count > size || offset > size - count || (offset != 0 && (asked != tensor || offset != next))) return false;
  if (offset == 0) staged = 0;
  tensor = asked;
  next = offset + count;
  return true;
}

/* The staging buffer to fill, after its previous content has reached the device. */
Staging& Transformer::Parts::free() {
  Staging& s = staging[current];
  if (staged == 0) check(cudaEventSynchronize(s.sent), "cudaEventSynchronize");
  return s;
}

bool Transformer::fill(const std::string& name, int layer, const float* values, size_t count, size_t offset) {
  Parts& p = *parts_;
  p.use();
  if (float* vector = p.findVector(name, layer)) {
    if (!p.begin(name, layer, p.config.dim, count, offset)) return false;
    p.stream.toDevice(vector + offset, values, count);
    p.stream.wait();
    return true;
  }
  OwnedMatrix* found = p.findMatrix(name, layer);
  if (found == nullptr) return false;
  const Matrix& to = found->matrix;
  const size_t size = static_cast<size_t>(to.d) * to.n;
  if (!p.begin(name, layer, size, count, offset)) return false;
  // only whole groups are sent, although pieces may end inside a group
  const size_t most = to.groupSize > 0 ? kStaged / to.groupSize * to.groupSize : kStaged;
  for (size_t done = 0; done < count;) {
    const size_t some = std::min(count - done, most - p.staged);
    memcpy(reinterpret_cast<float*>(p.free().host.get()) + p.staged, values + done, some * sizeof(float));
    p.staged += some;
    done += some;
    p.next = offset + done;
    if (p.staged == most || p.next == size) p.send(to);
  }
  return true;
}

/* Send the staged floats, the last of which is element `next` - 1, and convert them on the device. */
void Transformer::Parts::send(const Matrix& to) {
  Staging& s = staging[current];
  const int count = static_cast<int>(staged);
  const size_t offset = next - staged;
  auto* device = reinterpret_cast<float*>(s.device.get());
  stream.toDevice(device, reinterpret_cast<const float*>(s.host.get()), staged);
  const unsigned blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
  const Launch each = {dim3(blocks), kThreads, 0, stream.get(), false};
  if (options.precision == Precision::kInt8) {
    const unsigned groups = static_cast<unsigned>(count / to.groupSize);
    const Launch how = {dim3((groups + kWarps - 1) / kWarps), kThreads, 0, stream.get(), false};
    check(launch(how, quantizeGroups, to, device, count, offset), "quantizeGroups");
  } else if (options.precision == Precision::kFp16) {
    check(launch(each, convert<__half>, to, device, count, offset), "convert");
  } else {
    check(launch(each, convert<float>, to, device, count, offset), "convert");
  }
  check(cudaEventRecord(s.sent, stream.get()), "cudaEventRecord");
  current ^= 1;
  staged = 0;
}

bool Transformer::fillQuantized(const std::string& name, int layer, const int8_t* values, const float* scales,
                                int groupSize, size_t count, size_t offset) {
  Parts& p = *parts_;
  p.use();
  OwnedMatrix* found = p.findMatrix(name, layer);
  if (found == nullptr || groupSize < 1 || offset % groupSize != 0) return false;
  const Matrix& to = found->matrix;
  if (p.options.precision != Precision::kInt8 || p.options.groupSize != groupSize) {
    std::vector<float> floats(count);
    for (size_t i = 0; i < count; i++) floats[i] = static_cast<float>(values[i]) * scales[i / groupSize];
    return fill(name, layer, floats.data(), count, offset);
  }
  if (!p.begin(name, layer, static_cast<size_t>(to.d) * to.n, count, offset)) return false;
  p.stream.toDevice(to.scales + offset / groupSize, scales, (count + groupSize - 1) / groupSize);
  for (size_t done = 0; done < count;) {
    const int some = static_cast<int>(std::min(count - done, kStaged));
    Staging& s = p.free();
    memcpy(s.host.get(), values + done, some);
    auto* device = reinterpret_cast<int8_t*>(s.device.get());
    p.stream.toDevice(device, reinterpret_cast<const int8_t*>(s.host.get()), some);
    const Launch how = {dim3(static_cast<unsigned>((some + kThreads - 1) / kThreads)), kThreads, 0, p.stream.get(),
                        false};
    check(launch(how, copyInt8, to, device, some, offset + done), "copyInt8");
    check(cudaEventRecord(s.sent, p.stream.get()), "cudaEventRecord");
    p.current ^= 1;
    done += some;
  }
  p.stream.wait();  // the scales were sent from the caller's memory
  return true;
}

}  // namespace llama2::cuda
