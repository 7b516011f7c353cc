/* Checks that results do not depend on the run, on the batch, or on an earlier out-of-memory error. And the sampler. */
#include <string.h>

#include <algorithm>
#include <random>

#include "hold.h"
#include "reference.h"
#include "sections.h"

namespace llama2::check {

namespace {

using cuda::Context;
using cuda::Sequence;

std::mt19937 random(12);
int uniform(int least, int most) { return least + static_cast<int>(random() % (most - least + 1)); }
float number() { return static_cast<float>(random()) / 4294967296.0f; }

/* FNV-1a, over bytes. */
uint64_t hashOf(const void* data, size_t size, uint64_t hash = 0xcbf29ce484222325) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 0x100000001b3;
  return hash;
}

/* Decode some steps; (steps, count) tokens. */
std::vector<int32_t> decode(Context& context, std::vector<Sequence>& sequences, int steps) {
  std::vector<int32_t> all;
  const int count = static_cast<int>(sequences.size());
  context.decode(sequences.data(), count, steps);
  for (int step = 0; step < steps; step++) {
    const int32_t* tokens = context.tokens(step);
    all.insert(all.end(), tokens, tokens + count);
  }
  context.finish(sequences.data());
  return all;
}

/* Reads a prompt and samples its continuation: one hash of all bits. */
uint64_t story(cuda::Transformer& transformer, int steps) {
  const int vocabSize = transformer.config().vocabSize;
  Context context(transformer, 2);
  std::vector<Entry> prompt;
  for (int pos = 0; pos < 9; pos++) prompt.push_back({(pos * 7919 + 1) % vocabSize, pos, 0});
  std::vector<float> logits(prompt.size() * vocabSize);
  context.forward(prompt.data(), static_cast<int>(prompt.size()), static_cast<int>(prompt.size()), logits.data());
  std::vector<Sequence> sequences = {{{5, 9, 0}, 1.0f, 0.9f, 42, -1}, {{7, 0, 1}, 0.0f, 0.9f, 1, -1}};
  const auto tokens = decode(context, sequences, steps);
  const Entry last = sequences[0].next;
  std::vector<float> after(vocabSize);
  context.forward(&last, 1, 1, after.data());
  uint64_t hash = hashOf(logits.data(), logits.size() * sizeof(float));
  hash = hashOf(tokens.data(), tokens.size() * sizeof(int32_t), hash);
  return hashOf(after.data(), after.size() * sizeof(float), hash);
}

}  // namespace

/* The same bits in every run, each with a context of its own. */
bool checkRepeats(const Settings& settings) {
  Verdicts verdicts(settings);
  const int runs = settings.small ? 3 : 20;
  std::vector<Shape> shapes = {shapeOf("gqa"), shapeOf("260K"), shapeOf("15M")};
  if (settings.small) shapes = {shapeOf("tiny")};
  for (const Shape& shape : shapes) {
    for (const Precision precision : kPrecisions) {
      const std::string name = describe(shape.name, precision) + ", again";
      if (!settings.allows(name, settings.small ? 0 : 1)) continue;
      const Options options = optionsOf(shape.config(), precision, shape.groupSize, true);
      const auto transformer = load(seeded(shape, 2, false), options);
      const uint64_t first = story(*transformer, 16);
      int equal = 1;
      for (int run = 1; run < runs; run++) equal += story(*transformer, 16) == first;
      Line line(name);
      verdicts.add(line.number("runs", runs).number("equal", equal), equal == runs);
    }
  }
  return verdicts.all();
}

/* A sequence gives the same logits and tokens alone and beside others, in any slot. */
bool checkSlots(const Settings& settings) {
  Verdicts verdicts(settings);
  const int slots = settings.small ? 9 : 33;
  std::vector<Shape> shapes = {shapeOf("gqa"), shapeOf("15M")};
  if (settings.small) shapes = {shapeOf("tiny")};
  for (const Shape& shape : shapes) {
    for (const Precision precision : kPrecisions) {
      const std::string name = describe(shape.name, precision) + ", alone and among " + std::to_string(slots);
      if (!settings.allows(name, settings.small ? 0 : 1)) continue;
      const Options options = optionsOf(shape.config(), precision, shape.groupSize, true);
      const auto transformer = load(seeded(shape, 4, false), options);
      std::vector<Sequence> starts;
      for (int slot = 0; slot < slots; slot++) {
        starts.push_back({{uniform(0, shape.vocabSize - 1), 0, slot}, slot % 3 ? 0.9f : 0.0f, 0.9f, 77u + slot, -1});
      }
      Context context(*transformer, slots);
      const int steps = settings.small ? 5 : 12;
      std::vector<Sequence> sequences = starts;
      const auto together = decode(context, sequences, steps);
      std::vector<Entry> next;
      for (const Sequence& s : sequences) next.push_back(s.next);
      std::vector<float> logits(static_cast<size_t>(slots) * shape.vocabSize);
      context.forward(next.data(), slots, slots, logits.data());

      int equal = 0;
      const int tried[] = {0, 1, slots / 2, slots - 1};
      for (const int slot : tried) {
        Context other(*transformer, 2);
        std::vector<Sequence> alone = {starts[slot]};
        alone[0].next.sequence = 1;
        const auto tokens = decode(other, alone, steps);
        bool same = alone[0].rngState == sequences[slot].rngState;
        for (int step = 0; step < steps; step++) same = same && tokens[step] == together[step * slots + slot];
        std::vector<float> row(shape.vocabSize);
        other.forward(&alone[0].next, 1, 1, row.data());
        equal += same && memcmp(row.data(), &logits[static_cast<size_t>(slot) * shape.vocabSize], 4 * row.size()) == 0;
      }
      Line line(name);
      verdicts.add(line.number("tried", 4).number("equal", equal), equal == 4);
    }
  }
  return verdicts.all();
}

/* A sequence whose first positions were copied from another continues with the same bits as if it had read them. */
bool checkCopies(const Settings& settings) {
  Verdicts verdicts(settings);
  const Shape shape = shapeOf("gqa");
  const Checkpoint checkpoint = seeded(shape, 8, false);
  std::vector<Entry> prompt;
  for (int pos = 0; pos < 12; pos++) prompt.push_back({(pos * 7919 + 1) % shape.vocabSize, pos, 0});
  for (const KvPrecision kvPrecision : {KvPrecision::kFp32, KvPrecision::kFp16}) {
    const std::string name = std::string("a copied prefix, ") + (kvPrecision == KvPrecision::kFp32 ? "fp32" : "fp16");
    if (!settings.allows(name)) continue;
    Options options = optionsOf(shape.config(), Precision::kFp32, 0, true);
    options.kvPrecision = kvPrecision;
    const auto transformer = load(checkpoint, options);
    Context context(*transformer, 3);
    const int count = static_cast<int>(prompt.size());
    const auto read = [&](int sequence, int first) {  // the rest of the prompt: its logits
      std::vector<Entry> rest(prompt.begin() + first, prompt.end());
      for (Entry& entry : rest) entry.sequence = sequence;
      std::vector<float> logits(rest.size() * shape.vocabSize);
      context.forward(rest.data(), count - first, count - first, logits.data());
      return logits;
    };
    const std::vector<float> expected = read(1, 0);
    int equal = 0;
    const int tried[] = {0, 1, 7, count - 1};
    for (const int positions : tried) {
      std::vector<Entry> other;  // overwrites the previous copy
      for (int pos = 0; pos < count; pos++) other.push_back({3, pos, 2});
      context.forward(other.data(), count, 0, nullptr);
      context.copy(1, 2, positions);
      const auto logits = read(2, positions);
      equal += memcmp(logits.data(), &expected[static_cast<size_t>(positions) * shape.vocabSize],
                      logits.size() * sizeof(float)) == 0;
    }
    Line line(name);
    verdicts.add(line.number("tried", 4).number("equal", equal), equal == 4);
  }
  return verdicts.all();
}

namespace {

/* The state of xorshift* whose next draw is the coin k / 2^24. */
uint64_t stateOfCoin(uint64_t k) {
  constexpr uint64_t kFactor = 0x2545f4914f6cdd1d;
  uint64_t inverse = kFactor;  // modulo 2^64; each step of Newton's method doubles the number of right bits
  for (int i = 0; i < 6; i++) inverse *= 2 - kFactor * inverse;
  const uint64_t drawn = (k << 40 | 1) * inverse;
  const auto undo = [](uint64_t y, auto shifted) {  // the x with y = x ^ shifted(x)
    uint64_t x = y;
    for (int i = 0; i < 64; i++) x = y ^ shifted(x);
    return x;
  };
  const uint64_t before27 = undo(drawn, [](uint64_t x) { return x >> 27; });
  const uint64_t before25 = undo(before27, [](uint64_t x) { return x << 25; });
  return undo(before25, [](uint64_t x) { return x >> 12; });
}

/*
 * Coins that equal a running sum, or are one ulp less: the draw ends at the next token, or at this one. So any sum that
 * is one ulp off is detected. Sums from 1/2 on are multiples of 2^-24, and so are coins.
 */
void checkEdges(const Settings& settings, Verdicts& verdicts) {
  const char* name = "coins at the edge of a token";
  if (!settings.allows(name)) return;
  const Shape shape = {"", 4, 4, 1, 1, 1, 2048, 4};
  const Options options = optionsOf(shape.config(), Precision::kFp32, 0, true);
  const auto transformer = load(seeded(shape, 1, false), options);
  Context context(*transformer, 1);
  ReferenceSampler reference(shape.vocabSize);
  std::vector<float> logits(shape.vocabSize);
  const int draws = settings.small ? 120 : 6000;
  int equal = 0;
  for (int drawn = 0; drawn < draws; drawn++) {
    for (float& logit : logits) logit = 4 * (number() + number() - 1);
    const std::vector<float> sums = reference.runningSums(logits);
    const auto half = std::lower_bound(sums.begin(), sums.end(), 0.5f);
    const float sum = std::min(half[uniform(0, static_cast<int>(sums.end() - half) - 1)], 1 - 0x1p-24f);
    const uint64_t coin = static_cast<uint64_t>(sum * 0x1p24f) - drawn % 2;
    uint64_t state = stateOfCoin(coin);
    Sequence sequence = {{0, 0, 0}, 1.0f, 1.0f, state, -1};
    const int token = context.sample(logits.data(), sequence);
    equal += token == reference.sample(logits, 1.0f, 1.0f, state) && sequence.rngState == state;
  }
  Line line(name);
  verdicts.add(line.number("draws", draws).number("equal", equal), equal == draws);
}

}  // namespace

/* The same tokens as the reference's sampler for the same logits: flat, peaked, with ties, and all settings. */
bool checkSampler(const Settings& settings) {
  Verdicts verdicts(settings);
  checkEdges(settings, verdicts);
  struct Draws {
    int count, vocabSize;
    float temperature, topp, spread;
  };
  const Draws all[] = {
      {30000, 512, 1.0f, 0.9f, 4},  {20000, 512, 1.0f, 1.0f, 4},      {12000, 2048, 0.7f, 0.95f, 6},
      {8000, 300, 1.5f, 0.5f, 0},   {8000, 2048, 1.0f, 0.0f, 0.001f}, {2000, 97, 1e-39f, 0.9f, 4},
      {6000, 9000, 1.0f, 0.9f, 9},  {2000, 97, 1.0f, 1e-6f, 0.01f},   {6000, 32000, 1.0f, 0.9f, 8},
      {4000, 32000, 1.0f, 1.0f, 3}, {2000, 32000, 0.0f, 0.9f, 3},     {2000, 512, 1e9f, 0.001f, 4},
  };
  for (const Draws& d : all) {
    char name[96];
    const int count = settings.small ? std::max(8, d.count / (d.vocabSize > 4000 ? 500 : 20)) : d.count;
    snprintf(name, sizeof name, "%d draws of %d, temperature %g, top-p %g, spread %g", count, d.vocabSize,
             d.temperature, d.topp, d.spread);
    if (!settings.allows(name, settings.small ? 0 : 1)) continue;
    const Shape shape = {"", 4, 4, 1, 1, 1, d.vocabSize, 4};
    const Options options = optionsOf(shape.config(), Precision::kFp32, 0, true);
    const auto transformer = load(seeded(shape, 1, false), options);
    Context context(*transformer, 1);
    ReferenceSampler reference(d.vocabSize);
    Sequence sequence = {{0, 0, 0}, d.temperature, d.topp, 42, -1};
    uint64_t state = 42;
    int equal = 0, drawn = 0;
    const auto start = std::chrono::steady_clock::now();
    std::vector<float> logits(d.vocabSize);
    for (; drawn < count && (drawn % 64 != 0 || settings.allows(name)); drawn++) {
      for (float& logit : logits) logit = d.spread * (number() + number() - 1);
      for (int i = drawn % 7; i < d.vocabSize; i += 7) logits[i] = roundf(logits[i]);  // ties
      sequence.next = {0, 0, 0};
      const int token = context.sample(logits.data(), sequence);
      equal += token == reference.sample(logits, d.temperature, d.topp, state) && sequence.rngState == state;
    }
    Line line(name);
    line.number("draws", drawn).number("equal", equal).number("seconds", secondsSince(start));
    verdicts.add(line, equal == drawn && drawn > 0);
  }
  return verdicts.all();
}

namespace {

/* The message of the error that `work` throws, if its code is right; otherwise what happened instead. */
template <class Work>
std::string refusalOf(Work work, bool& refused) {
  try {
    work();
  } catch (const Error& error) {
    refused = error.code == Code::kDeviceOom;
    return error.what();
  }
  refused = false;
  return "it was not refused";
}

}  // namespace

/* A model or a context that does not fit is refused with the numbers; afterwards one that fits works as before. */
bool checkMemory(const Settings& settings) {
  Verdicts verdicts(settings);
  const Shape shape = shapeOf(settings.small ? "tiny" : "15M");
  const Options options = optionsOf(shape.config(), Precision::kFp32, 0, true);
  const Checkpoint checkpoint = seeded(shape, 6, false);
  const auto sane = [&] { return story(*load(checkpoint, options), 8); };
  const uint64_t expected = sane();
  const auto refuses = [&](const std::string& what, const auto& work) {
    bool refused;
    const std::string message = refusalOf(work, refused);
    const size_t before = freeBytes();
    const bool recovers = sane() == expected;
    Line line(what);
    line.text("message", message).yes("recovers", recovers);
    const bool freed = freeBytes() == before;
    const bool numbers = message.find(" GB free") != std::string::npos;
    verdicts.add(line.yes("numbers", numbers).yes("freed", freed), refused && numbers && recovers);
  };

  Shape large = shapeOf("7B");
  large.nLayers = 4000;
  refuses("a model larger than the card",
          [&] { loadRandom(large, optionsOf(large.config(), Precision::kFp16, 0, false)); });
  const auto transformer = load(checkpoint, options);
  refuses("a context larger than the card", [&] { Context context(*transformer, 1 << 20); });
  {
    // another user takes nearly all memory
    const size_t needed = cuda::estimateMemory(shape.config(), options, 1).total();
    const Hold hold(needed / 2);
    bool refused;
    const std::string message = refusalOf([&] { load(checkpoint, options); }, refused);
    Line line("a model beside another program's memory");
    verdicts.add(line.text("message", message), refused);
  }
  Line line("the same model once there is room");
  verdicts.add(line, sane() == expected);
  return verdicts.all();
}

}  // namespace llama2::check
