#include "reference.h"

#include <math.h>

#include <algorithm>
#include <thread>

#include "../../cpu/sampler.h"
#include "../../cpu/transformer.h"

namespace llama2::check {

namespace {

/* convert.h's quantizeGroups, as export.py does it: halves to even. */
void quantize(const std::vector<float>& w, int groupSize, std::vector<int8_t>& q, std::vector<float>& s) {
  q.resize(w.size());
  s.resize(w.size() / groupSize);
  for (size_t group = 0; group < s.size(); group++) {
    float wmax = 0.0f;
    for (int i = 0; i < groupSize; i++) wmax = std::max(wmax, fabsf(w[group * groupSize + i]));
    s[group] = wmax / 127.0f;
    for (int i = 0; i < groupSize; i++) {
      const float rounded = nearbyintf(w[group * groupSize + i] / s[group]);
      q[group * groupSize + i] = rounded == rounded ? static_cast<int8_t>(rounded) : int8_t{0};
    }
  }
}

int threads() { return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, 8); }

}  // namespace

float roundToHalf(float value) {
  if (value == 0.0f) return value;
  const int exponent = std::max(-14, ilogbf(value));
  return ldexpf(nearbyintf(ldexpf(value, 10 - exponent)), exponent - 10);
}

struct Reference::Parts {
  Transformer transformer;
  Context context;

  Parts(const Checkpoint& c, int groupSize, int sequences)
      : transformer(c.config, c.sharedClassifier, GroupSizes::all(groupSize), ropeFrequencies(c.config).data(),
                    kBaseKernels, threads()),
        context(transformer, sequences) {}
};

Reference::Reference(const Checkpoint& c, const Options& options, int sequences)
    : parts_(new Parts(c, options.groupSize, sequences)) {
  Transformer& to = parts_->transformer;
  for (const Tensor& t : c.tensors) {
    bool fits;
    if (t.isMatrix() && options.precision == Precision::kInt8) {
      std::vector<int8_t> q;
      std::vector<float> s;
      quantize(t.values, options.groupSize, q, s);
      fits = to.fillQuantized(t.name, t.layer, q.data(), s.data(), q.size(), 0);
    } else {
      std::vector<float> values = t.values;
      if (t.isMatrix() && options.precision == Precision::kFp16) {
        std::transform(values.begin(), values.end(), values.begin(), roundToHalf);
      }
      fits = to.fill(t.name, t.layer, values.data(), values.size(), 0);
    }
    if (!fits) throw std::invalid_argument("the reference has no place for " + t.name);
  }
}
Reference::~Reference() = default;

std::vector<float> Reference::forward(const std::vector<Entry>& entries) {
  Transformer& t = parts_->transformer;
  const size_t n = t.config().vocabSize;
  std::vector<float> logits(entries.size() * n);
  for (size_t done = 0; done < entries.size();) {
    const size_t some = std::min<size_t>(entries.size() - done, t.maxBatch());
    const int count = static_cast<int>(some);
    t.forward(parts_->context, entries.data() + done, count, count, logits.data() + done * n, t.threads());
    done += some;
  }
  return logits;
}

std::vector<float> Reference::read(const std::vector<int>& tokens) {
  std::vector<Entry> entries;
  for (const int token : tokens) entries.push_back({token, static_cast<int>(entries.size()), 0});
  return forward(entries);
}

Preference compareGreedy(const Checkpoint& checkpoint, const Options& options, const std::vector<int>& tokens) {
  const auto logits = Reference(checkpoint, options, 1).read({tokens.begin(), tokens.end() - 1});
  const int vocabSize = checkpoint.config.vocabSize;
  Preference found = {0, 0};
  for (size_t i = 1; i < tokens.size(); i++) {
    const float* row = &logits[(i - 1) * vocabSize];
    const float best = *std::max_element(row, row + vocabSize);
    const double largest = std::max(fabsf(best), fabsf(*std::min_element(row, row + vocabSize)));
    const double gap = tokens[i] < 0 || tokens[i] >= vocabSize ? INFINITY : (best - row[tokens[i]]) / largest;
    found.others += gap > 0;
    found.gap = std::max(found.gap, gap);
  }
  return found;
}

struct ReferenceSampler::Parts {
  Sampler sampler;
  explicit Parts(int vocabSize) : sampler(kBaseKernels, vocabSize) {}
};
ReferenceSampler::ReferenceSampler(int vocabSize) : parts_(new Parts(vocabSize)) {}
ReferenceSampler::~ReferenceSampler() = default;

int ReferenceSampler::sample(std::vector<float> logits, float temperature, float topp, uint64_t& state) {
  float coin = 0.0f;
  if (temperature != 0.0f) {  // xorshift*
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    coin = static_cast<float>((state * 0x2545f4914f6cdd1dull) >> 40) / 16777216.0f;
  }
  return parts_->sampler.sample(logits.data(), {temperature, topp, coin});
}

std::vector<float> ReferenceSampler::runningSums(std::vector<float> logits) const {
  const int count = static_cast<int>(logits.size());
  kBaseKernels.softmax({logits.data(), 0}, 1, count, 1.0f);
  for (int i = 1; i < count; i++) logits[i] += logits[i - 1];
  return logits;
}

double relativeError(const float* actual, const float* expected, size_t count) {
  double difference = 0, largest = 0;
  for (size_t i = 0; i < count; i++) {
    const double d = fabs(static_cast<double>(actual[i]) - expected[i]);
    if (!(d <= difference)) difference = d;
    largest = std::max(largest, fabs(static_cast<double>(expected[i])));
  }
  return difference / largest;
}

}  // namespace llama2::check
