/*
 * The check of a GPU, section by section. scripts/gpu-check.py builds it, runs each section in a process of its own and
 * collects the results.
 *
 *   check device                        describes this machine
 *   check SECTION [--small] [--fail-fast] [--seconds N]
 *   check reference SHAPE SEED UNTIED POSITIONS FILE      the reference's logits of the forced tokens
 *   check story MODEL STEPS             greedy tokens of a version-0 checkpoint, one line
 *
 * Exit status: 0; 1 if a check failed or an error occurred; 2 for wrong arguments; 3 if there is no device.
 */
#include <stdlib.h>

#include <fstream>
#include <functional>
#include <map>

#include "reference.h"
#include "sections.h"

using namespace llama2::check;
namespace cuda = llama2::cuda;

namespace {

const std::map<std::string, std::function<bool(const Settings&)>> kSections = {
    {"bandwidth", measureBandwidth}, {"launches", measureLaunches}, {"rope", checkRope},
    {"logits", checkLogits},         {"batches", checkBatches},     {"text", checkText},
    {"repeats", checkRepeats},       {"slots", checkSlots},         {"copies", checkCopies},
    {"sampler", checkSampler},       {"memory", checkMemory},       {"decode", measureDecode},
    {"prefill", measurePrefill},     {"batch", measureBatch},
};

/* Throws if there is none. */
void describeDevice() {
  const cuda::Device d = cuda::devices().front();
  Line line(d.name);
  line.number("computeMajor", d.computeMajor).number("computeMinor", d.computeMinor);
  line.number("multiprocessors", d.multiprocessors).number("totalBytes", static_cast<double>(d.totalBytes));
  line.number("freeBytes", static_cast<double>(cuda::freeMemory(0)));
  line.text("runtime", cuda::runtimeVersion()).text("driver", cuda::driverVersion());
}

/* Position 0 is token 1, position p > 0 is token (p * 7919 + 1) mod vocabSize: the goldens' tokens. */
void writeReference(const std::vector<std::string>& a) {
  const Shape shape = shapeOf(a.at(1));
  const bool untied = a.at(3) == "1";
  std::vector<int> tokens;
  for (int pos = 0; pos < stoi(a.at(4)); pos++) tokens.push_back(pos == 0 ? 1 : (pos * 7919 + 1) % shape.vocabSize);
  const Options options = optionsOf(shape.config(), Precision::kFp32, 0, !untied);
  const auto checkpoint = seeded(shape, static_cast<uint32_t>(stoul(a.at(2))), untied);
  const auto logits = Reference(checkpoint, options, 1).read(tokens);
  std::ofstream(a.at(5), std::ios::binary)
      .write(reinterpret_cast<const char*>(logits.data()), static_cast<std::streamsize>(logits.size() * sizeof(float)));
}

/* The tokens that follow BOS. */
std::vector<int> decodeGreedily(cuda::Transformer& transformer, int steps) {
  cuda::Context context(transformer, 1);
  cuda::Sequence sequence = {{1, 0, 0}, 0.0f, 0.9f, 1, -1};
  std::vector<int> tokens;
  while (static_cast<int>(tokens.size()) < steps) {
    const int some = std::min(context.maxSteps(), steps - static_cast<int>(tokens.size()));
    context.decode(&sequence, 1, some);
    for (int step = 0; step < some; step++) tokens.push_back(context.tokens(step)[0]);
    context.finish(&sequence);
  }
  return tokens;
}

/* With the reference's own margin: where it hesitates between tokens, another token is not an error. */
void tellStory(const std::vector<std::string>& a) {
  const Checkpoint c = readCheckpoint(a.at(1));
  const Options options = optionsOf(c.config, Precision::kFp32, 0, c.sharedClassifier);
  std::vector<int> tokens = decodeGreedily(*load(c, options), stoi(a.at(2)));
  std::string text;
  for (const int token : tokens) text += (text.empty() ? "" : " ") + std::to_string(token);
  tokens.insert(tokens.begin(), 1);
  Line(a.at(1)).text("tokens", text).number("gap", compareGreedy(c, options, tokens).gap);
}

int run(const std::vector<std::string>& a) {
  if (a.empty()) return 2;
  if (a[0] == "reference") return writeReference(a), 0;
  cuda::devices();
  if (a[0] == "device") return describeDevice(), 0;
  if (a[0] == "story") return tellStory(a), 0;
  const auto section = kSections.find(a[0]);
  if (section == kSections.end()) return 2;
  bool small = false, failFast = false;
  double seconds = 1e6;
  for (size_t i = 1; i < a.size(); i++) {
    if (a[i] == "--small") small = true;
    if (a[i] == "--fail-fast") failFast = true;
    if (a[i] == "--seconds") seconds = stod(a.at(i + 1));
  }
  return section->second(Settings(small, failFast, seconds)) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const int status = run({argv + 1, argv + argc});
    if (status == 2) fprintf(stderr, "wrong call: see native/cuda/check/main.cpp\n");
    return status;
  } catch (const llama2::Error& error) {
    Line("error").yes("ok", false).text("code", llama2::codeName(error.code)).text("message", error.what());
    return error.code == llama2::Code::kDeviceUnavailable ? 3 : 1;
  } catch (const std::exception& error) {
    Line("error").yes("ok", false).text("message", error.what());
    return 1;
  }
}
