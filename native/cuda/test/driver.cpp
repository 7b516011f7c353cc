/*
 * Runs the cuda backend on the emulator, for test/native/cuda.full.test.ts, which compares what it says with the reference.
 *
 *   driver NUMBERS LOGITS < commands
 *
 * NUMBERS holds all that is not text, as it lies in memory; commands say at which byte. Logits are written to LOGITS,
 * one forward after the other. A line of commands:
 *
 *   model dim hiddenDim nLayers nHeads nKvHeads vocabSize seqLen normEps shared precision groupSize kv fcr fci
 *   fill name layer count values            float32
 *   quantized name layer group count values scales
 *   context slots
 *   forward wanted count (token pos slot)*
 *   decode steps count (token pos slot temperature topp rngState stop)*    prints the tokens, then the sequences
 *   sample count temperature topp rngState logits    prints the tokens drawn from so many rows, then rngState
 */
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "../model.h"

using namespace llama2::cuda;

namespace {

std::vector<char> numbers;
std::ofstream logits;
std::unique_ptr<Transformer> transformer;
std::unique_ptr<Context> context;
unsigned seed = 1;

template <class T>
T next(std::istream& line) {
  T value;
  if (!(line >> value)) throw std::invalid_argument("a command is cut short");
  return value;
}

/* A copy, so that a sanitizer sees reads past its end. */
template <class T>
std::vector<T> values(size_t at, size_t count) {
  const T* first = reinterpret_cast<const T*>(numbers.data() + at);
  return std::vector<T>(first, first + count);
}

void model(std::istream& in) {
  Config p;
  in >> p.dim >> p.hiddenDim >> p.nLayers >> p.nHeads >> p.nKvHeads >> p.vocabSize >> p.seqLen >> p.normEps;
  Options o;
  o.device = 0;
  o.sharedClassifier = next<int>(in) != 0;
  o.precision = static_cast<Precision>(next<int>(in));
  o.groupSize = next<int>(in);
  o.kvPrecision = static_cast<KvPrecision>(next<int>(in));
  const size_t angles = static_cast<size_t>(p.seqLen) * (p.headSize() / 2);
  const auto fcr = values<float>(next<size_t>(in), angles);
  const auto fci = values<float>(next<size_t>(in), angles);
  context.reset();
  transformer.reset(new Transformer(p, o, fcr.data(), fci.data()));
}

/* In pieces that end anywhere, of whole groups where there are any. */
void fill(std::istream& in, bool quantized) {
  const auto name = next<std::string>(in);
  const int layer = next<int>(in);
  const size_t group = quantized ? next<size_t>(in) : 1;
  const size_t count = next<size_t>(in);
  const size_t at = next<size_t>(in);
  const size_t scales = quantized ? next<size_t>(in) : 0;
  for (size_t done = 0; done < count;) {
    seed = seed * 1664525 + 1013904223;
    const size_t some = std::min(count - done, (1 + (seed >> 8) % 50000) * group);
    const bool fits = quantized ? transformer->fillQuantized(
                                      name, layer, values<int8_t>(at + done, some).data(),
                                      values<float>(scales + done / group * 4, (some + group - 1) / group).data(),
                                      static_cast<int>(group), some, done)
                                : transformer->fill(name, layer, values<float>(at + 4 * done, some).data(), some, done);
    if (!fits) throw std::invalid_argument("fill " + name);
    done += some;
  }
}

Entry entry(std::istream& in) {
  const int token = next<int>(in), pos = next<int>(in), slot = next<int>(in);
  return {token, pos, slot};
}

void forward(std::istream& in) {
  const int wanted = next<int>(in);
  std::vector<Entry> batch(next<int>(in));
  for (Entry& e : batch) e = entry(in);
  std::vector<float> out(static_cast<size_t>(wanted) * transformer->config().vocabSize);
  context->forward(batch.data(), static_cast<int>(batch.size()), wanted, out.data());
  logits.write(reinterpret_cast<const char*>(out.data()), static_cast<std::streamsize>(out.size() * sizeof(float)));
}

void decode(std::istream& in) {
  const int steps = next<int>(in);
  std::vector<Sequence> sequences(next<int>(in));
  for (Sequence& s : sequences) {
    s.next = entry(in);
    in >> s.temperature >> s.topp >> s.rngState >> s.stop;
  }
  for (int done = 0; done < steps;) {
    const int some = std::min(steps - done, context->maxSteps());
    context->decode(sequences.data(), static_cast<int>(sequences.size()), some);
    for (int step = 0; step < some; step++) {
      const int32_t* tokens = context->tokens(step);
      for (size_t e = 0; e < sequences.size(); e++) printf("%d ", tokens[e]);
    }
    context->finish(sequences.data());
    done += some;
    if (std::any_of(sequences.begin(), sequences.end(), [](const Sequence& s) {
          return s.next.pos >= transformer->config().seqLen || s.next.token == s.stop;
        })) {
      break;
    }
  }
  printf("\n");
  for (const Sequence& s : sequences) {
    printf("%d %d %llu\n", s.next.token, s.next.pos, static_cast<unsigned long long>(s.rngState));
  }
}

void sample(std::istream& in) {
  const int count = next<int>(in);
  Sequence s = {{0, 0, 0}, next<float>(in), next<float>(in), next<uint64_t>(in), -1};
  const size_t at = next<size_t>(in);
  const size_t n = transformer->config().vocabSize;
  for (int i = 0; i < count; i++) {
    s.next = {0, 0, 0};
    printf("%d ", context->sample(values<float>(at + 4 * n * i, n).data(), s));
  }
  printf("%llu\n", static_cast<unsigned long long>(s.rngState));
}

void run(const std::string& command) {
  std::istringstream in(command);
  const auto name = next<std::string>(in);
  if (name == "model") return model(in);
  if (name == "fill") return fill(in, false);
  if (name == "quantized") return fill(in, true);
  if (name == "context") {
    context.reset();
    context.reset(new Context(*transformer, next<int>(in)));
    return;
  }
  if (name == "forward") return forward(in);
  if (name == "decode") return decode(in);
  if (name == "sample") return sample(in);
  throw std::invalid_argument("no command " + name);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::ifstream file(argv[1], std::ios::binary);
  numbers.assign(std::istreambuf_iterator<char>(file), {});
  logits.open(argv[2], std::ios::binary);
  try {
    for (std::string line; std::getline(std::cin, line);) run(line);
    context.reset();
    transformer.reset();
  } catch (const Error& error) {
    printf("%s %s\n", codeName(error.code), error.what());
    return 1;
  } catch (const std::exception& error) {
    printf("%s\n", error.what());
    return 1;
  }
  return 0;
}
