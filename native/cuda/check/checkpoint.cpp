#include "checkpoint.h"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <fstream>

namespace llama2::check {

const std::vector<Shape>& speedShapes() {
  static const std::vector<Shape> all = {
      {"260K", 64, 172, 5, 8, 4, 512, 512, 4},
      {"15M", 288, 768, 6, 6, 6, 32000, 256, 32},
      {"42M", 512, 1376, 8, 8, 8, 32000, 1024, 32},
      {"110M", 768, 2048, 12, 12, 12, 32000, 1024, 64},
      {"1B", 2048, 5632, 22, 32, 4, 32000, 2048, 64, true},
      {"7B", 4096, 11008, 32, 32, 32, 32000, 2048, 64, true},
  };
  return all;
}

Shape shapeOf(const std::string& name) {
  static const std::vector<Shape> others = {
      {"tiny", 16, 40, 2, 4, 4, 300, 32, 8},
      {"gqa", 48, 128, 3, 6, 2, 512, 64, 16},
      {"mqa", 32, 88, 2, 4, 1, 512, 64, 8},
  };
  for (const auto* all : {&speedShapes(), &others}) {
    for (const Shape& shape : *all) {
      if (shape.name == name) return shape;
    }
  }
  throw std::invalid_argument("there is no shape " + name);
}

namespace {

/* Near-normal numbers of standard deviation 2^16 / sqrt(3): a sum of four uniform ones, from splitmix32. */
class Normalish {
 public:
  explicit Normalish(uint32_t seed) : state_(seed) {}
  float next() {
    const int32_t a = static_cast<int32_t>(sum()), b = static_cast<int32_t>(sum());
    return static_cast<float>(a + b - 131070);
  }

 private:
  /* of two numbers of 16 bits */
  uint32_t sum() {
    uint32_t z = state_ += 0x9e3779b9;
    z = (z ^ (z >> 16)) * 0x21f0aaad;
    z = (z ^ (z >> 15)) * 0x735a2d97;
    z ^= z >> 15;
    return (z & 0xffff) + (z >> 16);
  }
  uint32_t state_;
};

/* Scaled by a power of two, so that every weight is exact: about 1 / sqrt(fan-in). */
float scaleOf(int fanIn) { return exp2f(-16.0f - ceilf(log2f(sqrtf(static_cast<float>(fanIn))))); }

/* All tensors, empty, in the order of a version-0 checkpoint, and the fan-in that sets the size of their numbers. */
template <class Add>
void eachTensor(const Config& p, bool untied, Add add) {
  const auto layers = [&](const char* name, int d, int n, int fanIn) {
    for (int l = 0; l < p.nLayers; l++) add(Tensor{name, l, d, n, {}}, fanIn);
  };
  add(Tensor{"tokenEmbeddingTable", 0, p.vocabSize, p.dim, {}}, 64);
  layers("rmsAttWeight", 1, p.dim, 0);
  layers("wq", p.dim, p.dim, p.dim);
  layers("wk", p.kvDim(), p.dim, p.dim);
  layers("wv", p.kvDim(), p.dim, p.dim);
  layers("wo", p.dim, p.dim, p.dim);
  layers("rmsFfnWeight", 1, p.dim, 0);
  layers("w1", p.hiddenDim, p.dim, p.dim);
  layers("w2", p.dim, p.hiddenDim, p.hiddenDim);
  layers("w3", p.hiddenDim, p.dim, p.dim);
  add(Tensor{"rmsFinalWeight", 0, 1, p.dim, {}}, 0);
  // here stand RoPE tables, (seqLen, headSize) numbers that readers skip
  if (untied) add(Tensor{"wcls", 0, p.vocabSize, p.dim, {}}, p.dim);
}

void checkFilled(bool fits, const std::string& name) {
  if (!fits) throw std::invalid_argument("the device has no place for " + name);
}

size_t sizeOf(const Tensor& t) { return static_cast<size_t>(t.d) * t.n; }

}  // namespace

std::vector<float> ropeFrequencies(const Config& p) {
  std::vector<float> frequencies;
  for (int pair = 0; pair < p.headSize() / 2; pair++) {
    const float share = static_cast<float>(2 * pair) / static_cast<float>(p.headSize());
    frequencies.push_back(1.0f / powf(10000.0f, share));
  }
  return frequencies;
}

Checkpoint seeded(const Shape& shape, uint32_t seed, bool untied) {
  Checkpoint c = {shape.name, shape.config(), !untied, {}};
  Normalish random(seed);
  eachTensor(c.config, untied, [&](Tensor t, int fanIn) {
    t.values.resize(sizeOf(t));
    const float scale = fanIn > 0 ? scaleOf(fanIn) : 0x1p-20f;
    for (float& value : t.values) value = (fanIn > 0 ? 0.0f : 1.0f) + random.next() * scale;
    c.tensors.push_back(std::move(t));
  });
  return c;
}

Checkpoint readCheckpoint(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const auto read = [&](void* to, size_t bytes) {
    if (!file.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes))) {
      throw std::invalid_argument(path + " cannot be read as a version-0 checkpoint");
    }
  };
  int32_t header[7];
  read(header, sizeof header);
  const bool untied = header[5] < 0;
  Checkpoint c = {
      path, {header[0], header[1], header[2], header[3], header[4], abs(header[5]), header[6], 1e-5f}, !untied, {}};
  eachTensor(c.config, untied, [&](Tensor t, int) {
    if (t.name == "wcls")
      file.seekg(4 * static_cast<std::streamoff>(c.config.seqLen) * c.config.headSize(), std::ios::cur);
    t.values.resize(sizeOf(t));
    read(t.values.data(), t.values.size() * sizeof(float));
    c.tensors.push_back(std::move(t));
  });
  return c;
}

const char* nameOf(Precision precision) {
  return precision == Precision::kFp32 ? "fp32" : precision == Precision::kFp16 ? "fp16" : "int8";
}

std::string describe(const std::string& name, Precision precision) { return name + " " + nameOf(precision); }

Options optionsOf(const Config& config, Precision precision, int groupSize, bool sharedClassifier) {
  Options o;
  o.precision = precision;
  o.groupSize = precision == Precision::kInt8 ? groupSize : 0;
  o.kvPrecision = config.dim >= 2048 ? KvPrecision::kFp16 : KvPrecision::kFp32;
  o.sharedClassifier = sharedClassifier;
  o.device = 0;
  return o;
}

std::unique_ptr<cuda::Transformer> load(const Checkpoint& c, const Options& options) {
  auto transformer = std::make_unique<cuda::Transformer>(c.config, options, ropeFrequencies(c.config).data());
  constexpr size_t kPiece = 77'777;  // ends anywhere
  for (const Tensor& t : c.tensors) {
    for (size_t done = 0; done < t.values.size();) {
      const size_t some = std::min(kPiece, t.values.size() - done);
      checkFilled(transformer->fill(t.name, t.layer, t.values.data() + done, some, done), t.name);
      done += some;
    }
  }
  return transformer;
}

std::unique_ptr<cuda::Transformer> loadRandom(const Shape& shape, const Options& options) {
  const Config config = shape.config();
  auto transformer = std::make_unique<cuda::Transformer>(config, options, ropeFrequencies(config).data());
  std::vector<float> numbers(size_t{1} << 20), scaled;
  Normalish random(7);
  for (float& value : numbers) value = random.next();
  int scaledFor = -1;
  eachTensor(config, shape.untied, [&](const Tensor& t, int fanIn) {
    if (fanIn != scaledFor) {
      scaled = numbers;
      for (float& value : scaled) value = fanIn > 0 ? value * scaleOf(fanIn) : 1.0f + value * 0x1p-20f;
      scaledFor = fanIn;
    }
    for (size_t done = 0; done < sizeOf(t);) {
      const size_t some = std::min(scaled.size(), sizeOf(t) - done);
      checkFilled(transformer->fill(t.name, t.layer, scaled.data(), some, done), t.name);
      done += some;
    }
  });
  return transformer;
}

}  // namespace llama2::check
