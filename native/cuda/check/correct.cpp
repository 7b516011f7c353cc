/*
 * The forward pass and decoding against the reference: every precision, and shapes with grouped and single key heads,
 * odd head sizes, prime sizes, the goldens' sizes and the widths of large models.
 */
#include <math.h>

#include <random>

#include "reference.h"
#include "sections.h"

namespace llama2::check {

namespace {

using cuda::Context;
using cuda::Sequence;

/* The allowed error against the reference: max |difference| / max |reference| of a position. */
double limitOf(const Options& o) {
  if (o.precision == Precision::kInt8) return 1e-2;
  return o.kvPrecision == KvPrecision::kFp16 ? 2e-3 : 1e-4;
}

struct Case {
  Shape shape;
  int positions;
};

std::vector<Case> cases(bool small) {
  std::vector<Case> all = {
      {shapeOf("gqa"), small ? 12 : 24},
      {shapeOf("mqa"), small ? 12 : 24},
      {{"odd heads", 18, 41, 1, 3, 3, 53, 24, 6}, 12},
      {{"groups that straddle", 32, 41, 1, 4, 2, 61, 24, 8}, 12},
      {{"prime sizes", 10, 7, 2, 5, 5, 33, 24, 2}, 12},
      {{"one large head", 130, 67, 1, 1, 1, 40, 24, 10}, 12},
      {{"tiles of columns", 1048, 24, 1, 4, 2, 61, 24, 8}, small ? 3 : 20},
      {{"several splits", 16, 24, 1, 2, 1, 40, 200, 4}, small ? 80 : 200},
  };
  if (small) return all;
  const Case more[] = {
      {shapeOf("tiny"), 32},
      {{"tiny untied", 16, 40, 2, 4, 4, 300, 32, 8, true}, 32},
      {{"more tiles of columns", 1048, 1100, 1, 4, 2, 61, 24, 4}, 20},
      {{"several layers, many splits", 64, 172, 3, 8, 4, 512, 1100, 4}, 1100},
      {shapeOf("260K"), 128},
      {shapeOf("15M"), 40},
      {{"110M, two layers", 768, 2048, 2, 12, 12, 32000, 1024, 64}, 24},
      {{"1B, one layer", 2048, 5632, 1, 32, 4, 2000, 64, 64, true}, 24},
      {{"7B, one layer", 4096, 11008, 1, 32, 32, 2000, 64, 64, true}, 24},
      {{"70B, one narrow layer", 8192, 1024, 1, 64, 8, 256, 64, 64, true}, 12},
  };
  all.insert(all.end(), std::begin(more), std::end(more));
  return all;
}

std::mt19937 random(11);
int uniform(int least, int most) { return least + static_cast<int>(random() % (most - least + 1)); }

std::vector<Entry> entriesOf(int count, int vocabSize, int slot = 0) {
  std::vector<Entry> entries;
  for (int pos = 0; pos < count; pos++) entries.push_back({uniform(0, vocabSize - 1), pos, slot});
  return entries;
}

/* In batches of at most `most`. */
std::vector<float> forward(Context& context, const std::vector<Entry>& entries, int most, int vocabSize) {
  std::vector<float> rows(entries.size() * vocabSize);
  for (size_t done = 0; done < entries.size();) {
    const size_t some = std::min<size_t>(entries.size() - done, most);
    context.forward(entries.data() + done, static_cast<int>(some), static_cast<int>(some),
                    rows.data() + done * vocabSize);
    done += some;
  }
  return rows;
}

/* The error of the worst position. */
double worst(const std::vector<float>& actual, const std::vector<float>& expected, int vocabSize) {
  double found = 0;
  for (size_t i = 0; i < expected.size(); i += vocabSize) {
    const double error = relativeError(&actual[i], &expected[i], vocabSize);
    if (!(error <= found)) found = error;  // NaN counts
  }
  return found;
}

void report(Verdicts& verdicts, const std::string& what, double error, double limit) {
  Line line(what);
  verdicts.add(line.number("error", error).number("limit", limit), error < limit);
}

}  // namespace

bool checkLogits(const Settings& settings) {
  Verdicts verdicts(settings);
  for (const Case& c : cases(settings.small)) {
    if (!settings.allows(c.shape.name)) continue;
    const Checkpoint checkpoint = seeded(c.shape, uniform(1, 1 << 20), c.shape.untied);
    const int vocabSize = c.shape.vocabSize;
    const auto entries = entriesOf(c.positions, vocabSize);
    for (const Precision precision : kPrecisions) {
      const std::string name = describe(c.shape.name, precision);
      if (!settings.allows(name, settings.small ? 0 : 1)) continue;
      Options options = optionsOf(c.shape.config(), precision, c.shape.groupSize, !c.shape.untied);
      options.kvPrecision = KvPrecision::kFp32;
      const auto expected = Reference(checkpoint, options, 1).forward(entries);
      const auto transformer = load(checkpoint, options);
      {
        Context context(*transformer, 1);
        const auto prompt = forward(context, entries, context.maxBatch(), vocabSize);
        report(verdicts, name + ", as a prompt", worst(prompt, expected, vocabSize), limitOf(options));
      }
      const int alone = std::min(c.positions, settings.small ? 4 : 64);  // fewer, since one at a time takes longer
      Context context(*transformer, 1);
      const std::vector<Entry> first(entries.begin(), entries.begin() + alone);
      const std::vector<float> expectedFirst(expected.begin(),
                                             expected.begin() + static_cast<size_t>(alone) * vocabSize);
      report(verdicts, name + ", one at a time", worst(forward(context, first, 1, vocabSize), expectedFirst, vocabSize),
             limitOf(options));
      if (precision == Precision::kInt8) continue;
      options.kvPrecision = KvPrecision::kFp16;
      const auto half = load(checkpoint, options);
      Context halfContext(*half, 1);
      report(verdicts, name + ", fp16 cache",
             worst(forward(halfContext, entries, halfContext.maxBatch(), vocabSize), expected, vocabSize),
             limitOf(options));
    }
  }
  return verdicts.all();
}

/* Several sequences at once, each at a position of its own. */
bool checkBatches(const Settings& settings) {
  Verdicts verdicts(settings);
  for (const Shape& shape : {shapeOf("gqa"), shapeOf(settings.small ? "mqa" : "260K")}) {
    const Checkpoint checkpoint = seeded(shape, 3, false);
    for (const Precision precision : kPrecisions) {
      const int slots = settings.small ? 11 : 70;
      const std::string name = describe(shape.name, precision) + ", " + std::to_string(slots) + " slots at once";
      if (!settings.allows(name, settings.small ? 0 : 1)) continue;
      const Options options = optionsOf(shape.config(), precision, shape.groupSize, true);
      const auto transformer = load(checkpoint, options);
      Context context(*transformer, slots);
      Reference reference(checkpoint, options, slots);
      double error = 0;
      // the odd slots begin later, so that positions differ
      for (int round = 0; round < (settings.small ? 4 : 12); round++) {
        std::vector<Entry> entries;
        for (int slot = 0; slot < slots; slot++) {
          const int pos = slot % 2 == 0 ? round : round - 2;
          if (pos >= 0) entries.push_back({uniform(0, shape.vocabSize - 1), pos, slot});
        }
        const auto expected = reference.forward(entries);
        const double here =
            worst(forward(context, entries, context.maxBatch(), shape.vocabSize), expected, shape.vocabSize);
        if (!(here <= error)) error = here;
      }
      report(verdicts, name, error, limitOf(options));
    }
  }
  return verdicts.all();
}

/*
 * Greedy decode(): each token must be the reference's best, given the tokens before it, or so close to it that the
 * allowed error explains it.
 */
bool checkText(const Settings& settings) {
  Verdicts verdicts(settings);
  std::vector<Shape> shapes = {shapeOf("gqa"), shapeOf("260K"), shapeOf("15M")};
  if (settings.small) shapes = {shapeOf("gqa")};
  for (const Shape& shape : shapes) {
    const Checkpoint checkpoint = seeded(shape, 5, shape.untied);
    for (const Precision precision : kPrecisions) {
      const std::string name = describe(shape.name, precision) + ", greedy";
      if (!settings.allows(name, settings.small ? 0 : 2)) continue;
      const Options options = optionsOf(shape.config(), precision, shape.groupSize, !shape.untied);
      const auto transformer = load(checkpoint, options);
      Context context(*transformer, 1);
      Sequence sequence = {{1, 0, 0}, 0.0f, 0.9f, 1, -1};
      std::vector<int> tokens = {1};
      const int wanted = std::min(settings.small ? 20 : 256, shape.seqLen - 1);
      while (static_cast<int>(tokens.size()) <= wanted) {
        const int steps = std::min(context.maxSteps(), wanted + 1 - static_cast<int>(tokens.size()));
        context.decode(&sequence, 1, steps);
        for (int step = 0; step < steps; step++) tokens.push_back(context.tokens(step)[0]);
        context.finish(&sequence);
      }
      const Preference p = compareGreedy(checkpoint, options, tokens);
      Line line(name);
      line.number("tokens", wanted).number("others", p.others).number("gap", p.gap);
      verdicts.add(line, p.gap < 4 * limitOf(options));
    }
  }
  return verdicts.all();
}

}  // namespace llama2::check
