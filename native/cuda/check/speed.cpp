/*
 * Measures the speed of decoding, prefill and batches, beside the limits of the card. Weights are the same few random
 * numbers again and again: a GPU takes the same time for all non-zero numbers.
 */
#include <algorithm>

#include "checkpoint.h"
#include "limits.h"
#include "sections.h"

namespace llama2::check {

namespace {

using cuda::Context;
using cuda::Sequence;

double bytesOf(Precision precision, int groupSize) {
  return precision == Precision::kFp32 ? 4 : precision == Precision::kFp16 ? 2 : 1 + 4.0 / groupSize;
}

/* The bytes of a token: every weight once, and the keys and values of the positions before. */
double bytesPerToken(const Config& p, const Options& o, double positions) {
  const double layer = 2.0 * p.dim * p.dim + 2.0 * p.dim * p.kvDim() + 3.0 * p.dim * p.hiddenDim;
  const double weights =
      (p.nLayers * layer + static_cast<double>(p.vocabSize) * p.dim) * bytesOf(o.precision, o.groupSize);
  return weights + 2.0 * p.nLayers * p.kvDim() * positions * (o.kvPrecision == KvPrecision::kFp16 ? 2 : 4);
}

/* The number of kernels: embedding, five per layer, classifier, sampler. */
int kernelsPerToken(const Config& p) { return 5 * p.nLayers + 3; }

/* A sequence whose logits were not finite has ended early, so its speed does not count. */
void requireAt(const Sequence& sequence, int pos) {
  if (sequence.next.pos != pos)
    throw std::runtime_error("a sequence ended at position " + std::to_string(sequence.next.pos));
}

/* Tokens a second from position `first` on, `count` of them. */
double decodeSpeed(Context& context, int first, int count, float temperature) {
  Sequence sequence = {{1, first, 0}, temperature, 0.9f, 42, -1};
  const auto start = std::chrono::steady_clock::now();
  for (int done = 0; done < count;) {
    const int steps = std::min(context.maxSteps(), count - done);
    context.decode(&sequence, 1, steps);
    context.finish(&sequence);
    done += steps;
  }
  const double seconds = secondsSince(start);
  requireAt(sequence, first + count);
  return count / seconds;
}

struct Stretch {
  const char* name;
  int first, count;
  float temperature;
};

void measureDecode(const Settings& settings, const Limits& limits, const Shape& shape, Precision precision) {
  const Config p = shape.config();
  const Options options = optionsOf(p, precision, shape.groupSize, !shape.untied);
  const bool large = shape.dim >= 2048;
  const auto begin = std::chrono::steady_clock::now();
  const auto transformer = loadRandom(shape, options);
  Context context(*transformer, 1);
  const double loaded = secondsSince(begin);
  do {  // until the clocks have ramped up
    decodeSpeed(context, 0, settings.small ? 2 : 16, 0.0f);
  } while (!settings.small && secondsSince(begin) < loaded + 0.1);
  const int window = settings.small ? 6 : std::min(32, p.seqLen / 2);
  const Stretch stretches[] = {
      {"first 32", 0, window, 0.0f},
      {"last 32", p.seqLen - window, window, 0.0f},
      {"256", 0, std::min(settings.small ? window : 256, p.seqLen), 0.0f},
      {"256, drawn", 0, std::min(settings.small ? window : 256, p.seqLen), 1.0f},
  };
  for (const Stretch& s : stretches) {
    const std::string name = describe(shape.name, precision) + ", " + s.name;
    if (!settings.allows(name)) continue;
    std::vector<double> speeds;
    for (int i = 0; i < (large ? 3 : settings.samples()); i++) {
      speeds.push_back(decodeSpeed(context, s.first, s.count, s.temperature));
    }
    std::vector<double> sorted = speeds;
    std::sort(sorted.begin(), sorted.end());
    const double bytes = bytesPerToken(p, options, s.first + s.count / 2.0);
    const double reached = bytes * sorted[sorted.size() / 2];
    Line line(name);
    line.samples(speeds, "tok/s").number("expected", 1 / limits.secondsOf(bytes, kernelsPerToken(p)));
    line.number("bytes", bytes).number("gbPerSecond", reached / 1e9).number("ofCopy", reached / limits.copy());
    line.number("kernels", kernelsPerToken(p)).number("loadSeconds", loaded);
  }
}

/* About how many seconds it takes to load a model. */
double loadSeconds(const Shape& shape) { return bytesPerToken(shape.config(), {}, 0) / 4e9; }

}  // namespace

/* The most important first. */
bool measureDecode(const Settings& settings) {
  const Limits limits(settings);
  struct Wish {
    const char* shape;
    std::vector<Precision> precisions;
  };
  const auto [fp32, fp16, int8] = kPrecisions;
  std::vector<Wish> wishes = {{"15M", {fp32, fp16, int8}},
                              {"260K", {fp32, fp16, int8}},
                              {"110M", {fp32, fp16, int8}},
                              {"7B", {fp16, int8}},
                              {"42M", {fp32, fp16, int8}},
                              {"1B", {fp16, int8, fp32}},
                              {"7B", {fp32}}};
  if (settings.small) wishes = {{"tiny", {fp32, fp16, int8}}};
  for (const Wish& wish : wishes) {
    const Shape shape = shapeOf(wish.shape);
    for (const Precision precision : wish.precisions) {
      const std::string name = describe(shape.name, precision);
      if (!settings.allows(name, loadSeconds(shape))) continue;
      ifItFits(name, [&] { measureDecode(settings, limits, shape, precision); });
    }
  }
  return true;
}

bool measurePrefill(const Settings& settings) {
  std::vector<std::pair<Shape, Precision>> wishes;
  if (settings.small) {
    wishes = {{shapeOf("tiny"), Precision::kFp32}};
  } else {
    for (const char* shape : {"15M", "110M"}) {
      for (const Precision precision : kPrecisions) wishes.push_back({shapeOf(shape), precision});
    }
    wishes.push_back({shapeOf("7B"), Precision::kFp16});
    wishes.push_back({shapeOf("7B"), Precision::kInt8});
  }
  for (const auto& [shape, precision] : wishes) {
    const int tokens = std::min(512, shape.seqLen);
    const std::string name = describe(shape.name, precision) + ", " + std::to_string(tokens) + " tokens";
    if (!settings.allows(name, loadSeconds(shape))) continue;
    ifItFits(name, [&, shape = shape, precision = precision] {
      const auto transformer = loadRandom(shape, optionsOf(shape.config(), precision, shape.groupSize, !shape.untied));
      Context context(*transformer, 1);
      std::vector<float> logits(shape.vocabSize);
      std::vector<Entry> entries;
      for (int pos = 0; pos < tokens; pos++) entries.push_back({(pos * 7919 + 1) % shape.vocabSize, pos, 0});
      std::vector<double> speeds;
      for (int sample = -1; sample < (shape.dim >= 2048 ? 3 : settings.samples()); sample++) {
        const auto start = std::chrono::steady_clock::now();
        for (int done = 0; done < tokens;) {
          const int some = std::min(context.maxBatch(), tokens - done);
          context.forward(&entries[done], some, done + some == tokens ? 1 : 0, logits.data());
          done += some;
        }
        if (sample >= 0) speeds.push_back(tokens / secondsSince(start));  // the first one warms up
      }
      Line(name).samples(speeds, "tok/s");
    });
  }
  return true;
}

namespace {

void measureBatch(const Settings& settings, cuda::Transformer& transformer, const std::string& name, int slots,
                  float temperature) {
  Context context(transformer, slots);
  const int steps = settings.small ? 4 : 64;
  std::vector<double> speeds;
  for (int sample = -1; sample < (settings.small ? 1 : 3); sample++) {
    std::vector<Sequence> sequences;
    for (int slot = 0; slot < slots; slot++)
      sequences.push_back({{slot + 1, 0, slot}, temperature, 0.9f, slot + 1u, -1});
    const auto start = std::chrono::steady_clock::now();
    context.decode(sequences.data(), slots, steps);
    context.finish(sequences.data());
    const double seconds = secondsSince(start);
    for (const Sequence& sequence : sequences) requireAt(sequence, steps);
    if (sample >= 0) speeds.push_back(static_cast<double>(slots) * steps / seconds);
  }
  Line(name).samples(speeds, "tok/s").number("slots", slots).number("eachTokPerSecond", speeds[0] / slots);
}

}  // namespace

/* Many sequences at once: tokens a second of all of them together. */
bool measureBatch(const Settings& settings) {
  struct Wish {
    const char* shape;
    Precision precision;
    float temperature;
    std::vector<int> slots;
  };
  const auto [fp32, fp16, int8] = kPrecisions;
  std::vector<Wish> wishes = {
      {"15M", fp32, 0.0f, {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}},
      {"15M", fp16, 0.0f, {1, 8, 64, 512, 1024}},
      {"15M", fp32, 1.0f, {1, 64, 512}},
      {"15M", int8, 0.0f, {1, 8, 64, 512}},
      {"7B", fp16, 0.0f, {1, 8, 32}},
  };
  if (settings.small) wishes = {{"tiny", fp32, 0.0f, {1, 9}}, {"tiny", fp32, 1.0f, {3}}};
  for (const Wish& wish : wishes) {
    const Shape shape = shapeOf(wish.shape);
    const std::string kind = describe(shape.name, wish.precision) + (wish.temperature > 0 ? ", drawn" : "");
    if (!settings.allows(kind, loadSeconds(shape))) continue;
    ifItFits(kind, [&] {
      const auto transformer =
          loadRandom(shape, optionsOf(shape.config(), wish.precision, shape.groupSize, !shape.untied));
      for (const int slots : wish.slots) {
        const std::string name = kind + ", " + std::to_string(slots) + " at once";
        if (!settings.allows(name, 0.5)) continue;
        ifItFits(name, [&] { measureBatch(settings, *transformer, name, slots, wish.temperature); });
      }
    });
  }
  return true;
}

}  // namespace llama2::check
