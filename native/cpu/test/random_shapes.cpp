/*
 * Runs the native kernels, forward pass, sampler and thread pool with random shapes under sanitizers:
 * `npm run test:sanitize`. test/backend/ compares the results with the TypeScript; here they must not depend on the
 * instruction set, the number of threads, or how tokens are batched.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <random>
#include <vector>

#include "isa.h"
#include "sampler.h"
#include "transformer.h"

using namespace llama2;

namespace {

std::mt19937 rng;

/* The checksum of all logits: the same on every processor, so that runs on different ones can be compared. */
uint32_t checksum = 0;

int uniform(int least, int most) { return least + static_cast<int>(rng() % (most - least + 1)); }
float number() { return static_cast<float>(rng()) / 4294967296.0f - 0.5f; }

std::vector<float> numbers(size_t count) {
  std::vector<float> values(count);
  for (float& value : values) value = number();
  return values;
}

Config randomConfig() {
  Config p;
  p.nKvHeads = uniform(1, 4);
  p.nHeads = p.nKvHeads * uniform(1, 3);
  p.dim = p.nHeads * 2 * uniform(1, uniform(0, 3) == 0 ? 64 : 12);
  p.hiddenDim = uniform(1, 150);
  p.nLayers = uniform(1, 3);
  p.vocabSize = uniform(1, 300);
  p.seqLen = uniform(1, 70);
  p.normEps = 1e-5f;
  return p;
}

/* All tensors of a model, in one order for all of its copies. */
struct Tensor {
  const char* name;
  int layer;
  bool isMatrix;
  std::vector<float> values;
};

std::vector<Tensor> randomTensors(const Config& p, bool sharedClassifier) {
  std::vector<Tensor> tensors;
  const auto add = [&](const char* name, int layers, int d, int n) {
    for (int l = 0; l < layers; l++)
      tensors.push_back({name, l, strncmp(name, "rms", 3) != 0, numbers(static_cast<size_t>(d) * n)});
  };
  add("tokenEmbeddingTable", 1, p.vocabSize, p.dim);
  add("rmsAttWeight", p.nLayers, 1, p.dim);
  add("wq", p.nLayers, p.dim, p.dim);
  add("wk", p.nLayers, p.kvDim(), p.dim);
  add("wv", p.nLayers, p.kvDim(), p.dim);
  add("wo", p.nLayers, p.dim, p.dim);
  add("rmsFfnWeight", p.nLayers, 1, p.dim);
  add("w1", p.nLayers, p.hiddenDim, p.dim);
  add("w2", p.nLayers, p.dim, p.hiddenDim);
  add("w3", p.nLayers, p.hiddenDim, p.dim);
  add("rmsFinalWeight", 1, 1, p.dim);
  if (!sharedClassifier) add("wcls", 1, p.vocabSize, p.dim);
  return tensors;
}

/* A group size that divides dim, and so every matrix; 0 half of the time. If it does not divide hiddenDim, groups
 * straddle rows. */
int randomGroupSize(const Config& p) {
  if (uniform(0, 1) == 0) return 0;
  int groupSize = uniform(1, p.dim);
  while (p.dim % groupSize != 0) groupSize--;
  return groupSize;
}

/* The same for all matrices, or a different one for each. */
GroupSizes randomGroupSizes(const Config& p) {
  if (uniform(0, 1) == 0) return GroupSizes::all(randomGroupSize(p));
  const auto size = [&] { return randomGroupSize(p); };
  return {size(), size(), size(), size(), size(), size(), size(), size(), size()};
}

/* Any bytes, and scales of about the size that real ones have. */
void fillQuantized(Transformer& transformer, const Tensor& tensor) {
  const size_t groupSize = transformer.groupSizeOf(tensor.name);
  for (size_t done = 0; done < tensor.values.size();) {
    const size_t groups = std::min<size_t>((tensor.values.size() - done) / groupSize, uniform(1, 300));
    std::vector<int8_t> q(groups * groupSize);
    std::vector<float> scales(groups);
    for (size_t i = 0; i < q.size(); i++) q[i] = static_cast<int8_t>(tensor.values[done + i] * 256.0f);
    for (size_t i = 0; i < groups; i++) scales[i] = tensor.values[done + i * groupSize] / 128.0f;
    if (!transformer.fillQuantized(tensor.name, tensor.layer, q.data(), scales.data(), q.size(), done)) abort();
    done += q.size();
  }
}

void fill(Transformer& transformer, const Tensor& tensor) {
  if (transformer.groupSizeOf(tensor.name) != 0) return fillQuantized(transformer, tensor);
  // in chunks that end anywhere, each allocated separately, so that a read past its end is detected
  for (size_t done = 0; done < tensor.values.size();) {
    const size_t count = std::min<size_t>(tensor.values.size() - done, uniform(1, 5000));
    const std::vector<float> chunk(tensor.values.begin() + done, tensor.values.begin() + done + count);
    if (!transformer.fill(tensor.name, tensor.layer, chunk.data(), count, done)) abort();
    done += count;
  }
  if (transformer.fill(tensor.name, tensor.layer, tensor.values.data(), 1, tensor.values.size())) abort();
}

/* Several interleaved sequences, each token by token from position 0. */
std::vector<Entry> randomEntries(const Config& p, int sequences) {
  std::vector<Entry> entries;
  std::vector<int> read(sequences, 0);
  for (int i = 0; i < sequences * p.seqLen; i++) {
    const int sequence = uniform(0, sequences - 1);
    if (read[sequence] < p.seqLen) entries.push_back({uniform(0, p.vocabSize - 1), read[sequence]++, sequence});
  }
  return entries;
}

/* The logits after each entry, read in batches of at most `most`. */
std::vector<float> run(Transformer& transformer, int sequences, const std::vector<Entry>& entries, int most) {
  Context context(transformer, sequences);
  const size_t vocabSize = transformer.config().vocabSize;
  std::vector<float> all;
  for (size_t i = 0; i < entries.size();) {
    const int count = std::min({static_cast<int>(entries.size() - i), uniform(1, most), transformer.maxBatch()});
    const std::vector<Entry> batch(entries.begin() + i, entries.begin() + i + count);
    std::vector<float> logits(count * vocabSize);
    // with a different team in each pass
    transformer.forward(context, batch.data(), count, count, logits.data(), uniform(1, transformer.threads()));
    all.insert(all.end(), logits.begin(), logits.end());
    i += count;
  }
  return all;
}

/* The tokens of sequences that decode by themselves to the end of their context, in calls of a few steps. */
std::vector<int32_t> decode(Transformer& transformer, int sequences) {
  const Config& p = transformer.config();
  Context context(transformer, sequences);
  std::vector<Running> running;
  std::vector<Choice> choices;
  std::vector<uint64_t> states;
  for (int i = 0; i < sequences; i++) {
    running.push_back({{i % p.vocabSize, 0, i}, -1});
    choices.push_back({i == 0 ? 0.0f : 1.0f, 0.9f});
    states.push_back(i + 1);
  }
  std::vector<int32_t> all;
  std::vector<float> logits(static_cast<size_t>(sequences) * p.vocabSize);
  for (int pos = 0; pos < p.seqLen;) {
    const int most = std::min(p.seqLen - pos, uniform(1, 9));
    std::vector<int32_t> tokens(static_cast<size_t>(most) * sequences);
    const int threads = uniform(1, transformer.threads());
    const auto decoded = transformer.decode(context, running.data(), choices.data(), states.data(), sequences, most,
                                            1e9, logits.data(), tokens.data(), threads);
    all.insert(all.end(), tokens.begin(), tokens.begin() + decoded.steps * sequences);
    if (decoded.steps < most) break;  // logits that are not finite
    pos += most;
  }
  return all;
}

/* Draws of many kinds; they return tokens, or the sampler is broken. */
std::vector<int> draw(const Kernels& kernels, const std::vector<float>& logits, int vocabSize) {
  Sampler sampler(kernels, vocabSize);
  std::vector<int> drawn;
  for (const float temperature : {0.0f, 1e-40f, 1e-3f, 1.0f, 1e9f}) {
    for (const float topp : {0.0f, 1e-6f, 0.5f, 0.9f, 1.0f}) {
      for (const float coin : {0.0f, 0.3f, 0.99999994f}) {
        std::vector<float> row(logits.begin(), logits.begin() + vocabSize);
        const bool allFinite = std::all_of(row.begin(), row.end(), [](float x) { return std::isfinite(x); });
        const int token = sampler.sample(row.data(), {temperature, topp, coin});
        if (allFinite ? token < 0 || token >= vocabSize : token != -1) abort();
        drawn.push_back(token);
      }
    }
  }
  return drawn;
}

/* Kernels::matmul or Kernels::matmulInt8: x (count, n) times w, read in one of all ways. */
std::vector<float> multiply(const Kernels& kernels, const Matrix& w, const std::vector<float>& x, int count,
                            Reading reading, bool interleaved) {
  std::vector<float> xout(static_cast<size_t>(count) * w.d);
  const Columns<float> out = {xout.data(), static_cast<size_t>(w.d)};
  Columns<const float> in = {x.data(), static_cast<size_t>(w.n)};
  if (w.groupSize == 0) {
    std::vector<float> xi(x.size());
    for (size_t i = 0; i < x.size(); i++) xi[i % w.n * count + i / w.n] = x[i];
    if (interleaved) in = {xi.data(), 1, static_cast<size_t>(count)};
    kernels.matmul(out, in, count, w.panels(0, w.d), reading);
  } else {
    const size_t bytes = static_cast<size_t>(w.segments.count) * w.segments.quads * kMostQuadBytes;
    const size_t segments = w.segments.count;
    std::vector<int8_t> xq(bytes * count);
    std::vector<float> xs(segments * count);
    std::vector<int32_t> xsum(segments * count);
    kernels.quantize({{xq.data(), bytes}, {xs.data(), segments}, {xsum.data(), segments}}, in, count, w.segments,
                     w.groupSize);
    const Int8Vectors rounded = {{xq.data(), bytes}, {xs.data(), segments}, {xsum.data(), segments}};
    kernels.matmulInt8(out, rounded, count, w.int8Panels(0, w.d), reading);
  }
  return xout;
}

/* Which way a matrix is read depends on the processor and on the model's size. Here each is tried with small ones. */
void tryReadings(int seed) {
  rng.seed(seed);
  const int n = uniform(1, 300);
  const int d = uniform(1, 200);
  const int groupSize = uniform(0, 1) * uniform(1, n);
  Parts counted;
  Matrix(counted, d, n, groupSize);
  const Memory memory(counted.bytes(), Pages::kLazy);
  Parts parts(memory);
  Matrix w(parts, d, n, groupSize);
  const size_t size = static_cast<size_t>(d) * n / std::max(1, groupSize) * std::max(1, groupSize);
  const auto values = numbers(size);
  if (groupSize == 0) {
    w.fill(values.data(), size, 0);
  } else {
    std::vector<int8_t> q(size);
    for (size_t i = 0; i < size; i++) q[i] = static_cast<int8_t>(values[i] * 256.0f);
    w.fillQuantized(q.data(), numbers(size / groupSize).data(), size, 0);
  }
  const int most = 20;
  const auto x = numbers(static_cast<size_t>(most) * n);
  const auto expected = multiply(*supportedKernels()[0], w, x, most, Reading::kPanels, false);
  for (const Kernels* kernels : supportedKernels()) {
    for (int count = 1; count <= most; count++) {
      const std::vector<float> some(x.begin(), x.begin() + static_cast<size_t>(count) * n);
      for (const auto reading : {Reading::kPanels, Reading::kPanelsAhead, Reading::kOneStream, Reading::kAhead}) {
        for (const bool interleaved : {false, true}) {
          const auto xout = multiply(*kernels, w, some, count, reading, interleaved);
          if (memcmp(xout.data(), expected.data(), xout.size() * sizeof(float)) == 0) continue;
          printf("products differ: %s, reading %d, %d vectors, (%d, %d) in groups of %d\n", kernels->name,
                 static_cast<int>(reading), count, d, n, groupSize);
          exit(1);
        }
      }
    }
  }
}

void fail(const char* what, const Transformer& transformer, int batch) {
  const Config& p = transformer.config();
  printf("%s differ: %s, %d threads, batches of %d, wq in groups of %d,", what, transformer.kernels().name,
         transformer.threads(), batch, transformer.groupSizes().wq);
  printf(" dim %d, hidden %d, layers %d, heads %d, kv %d, vocab %d, seq %d\n", p.dim, p.hiddenDim, p.nLayers, p.nHeads,
         p.nKvHeads, p.vocabSize, p.seqLen);
  exit(1);
}

void tryShape(int seed) {
  rng.seed(seed);  // a machine with more instruction sets has drawn more numbers before
  const Config p = randomConfig();
  const bool sharedClassifier = uniform(0, 1) == 0;
  const GroupSizes groupSizes = randomGroupSizes(p);
  const int sequences = uniform(1, 3);
  const auto tensors = randomTensors(p, sharedClassifier);
  const auto entries = randomEntries(p, sequences);
  auto frequencies = numbers(p.headSize() / 2);
  for (float& frequency : frequencies) frequency = 100 * fabsf(frequency);

  std::vector<float> expected;
  std::vector<int> expectedDraws;
  std::vector<int32_t> expectedTokens;
  for (const Kernels* kernels : supportedKernels()) {
    for (const int threads : {1, uniform(2, 5)}) {
      Transformer transformer(p, sharedClassifier, groupSizes, frequencies.data(), *kernels, threads);
      for (const Tensor& tensor : tensors) fill(transformer, tensor);
      for (const int batch : {1, 64}) {
        const auto logits = run(transformer, sequences, entries, batch);
        const auto draws = draw(*kernels, logits, p.vocabSize);
        if (expected.empty()) {
          expected = logits;
          expectedDraws = draws;
          for (const float& logit : logits) {
            uint32_t bits;
            memcpy(&bits, &logit, sizeof bits);
            checksum = checksum * 31 + (logit == logit ? bits : 0);  // NaN, whatever its bits, is NaN
          }
        }
        if (memcmp(expected.data(), logits.data(), logits.size() * sizeof(float)) != 0) {
          fail("logits", transformer, batch);
        }
        if (draws != expectedDraws) fail("draws", transformer, batch);
      }
      const auto tokens = decode(transformer, sequences);
      if (expectedTokens.empty()) expectedTokens = tokens;
      if (tokens != expectedTokens) fail("tokens", transformer, 1);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int shapes = argc > 1 ? atoi(argv[1]) : 60;
  for (int i = 0; i < shapes; i++) tryReadings(i);
  for (int i = 0; i < shapes; i++) tryShape(i);
  printf("%d shapes on", shapes);
  for (const Kernels* kernels : supportedKernels()) printf(" %s", kernels->name);
  printf(": the same bits, checksum %08x\n", checksum);
  return 0;
}
