/* Launching the sampler. */
#include <algorithm>

#include "context.h"
#include "sampler.h"

namespace llama2::cuda {

/* Choose the next token of each of `count` entries, from the logits in s.logits. */
void Context::Parts::sample(int count, bool greedy) {
  const int bestCount = blocks(p.vocabSize);
  if (!greedy) {
    const int needed = (p.vocabSize + kThreads - 1) / kThreads;
    const dim3 grid(static_cast<unsigned>(std::min(needed, transformer.multiprocessors)), static_cast<unsigned>(count));
    check(launch(Launch{grid, kThreads, 0, stream, transformer.early}, softmaxTerms, s.logits.get(), p.vocabSize,
                 s.best.get(), bestCount, s.draws.get(), s.terms.get()),
          "softmaxTerms");
  }
  int keyStride = 1;
  while (keyStride < p.vocabSize) keyStride *= 2;
  const SamplerState state = {s.entries.get(), s.draws.get(), s.logits.get(), s.best.get(), bestCount,    s.terms.get(),
                              s.keys.get(),    keyStride,     p.vocabSize,    p.seqLen,     s.step.get(), tokens.get()};
  const unsigned threads = p.vocabSize > 8192 ? kSamplerThreads : kThreads;
  check(launch(Launch{dim3(static_cast<unsigned>(count)), threads, 0, stream, transformer.early}, sampleToken, state),
        "sampleToken");
}

int32_t Context::sample(const float* logits, Sequence& sequence) {
  Parts& own = *parts_;
  const Stream& stream = own.transformer.stream;
  own.transformer.use();
  stream.wait();
  own.send(&sequence.next, 1);
  own.draws.get()[0] = {sequence.temperature, sequence.topp, sequence.rngState, sequence.stop, 0};
  stream.toDevice(own.s.draws.get(), own.draws.get(), 1);
  stream.clear(own.s.step.get(), sizeof(int));
  stream.toDevice(own.s.logits.get(), logits, own.p.vocabSize);
  const Launch how = {dim3(static_cast<unsigned>(own.blocks(own.p.vocabSize))), kThreads, 0, own.stream, false};
  check(launch(how, findBest, own.s.logits.get(), own.p.vocabSize, own.s.best.get()), "findBest");
  own.sample(1, sequence.temperature == 0.0f);
  own.decoding = 1;
  finish(&sequence);
  return own.tokens.get()[0];
}

}  // namespace llama2::cuda
