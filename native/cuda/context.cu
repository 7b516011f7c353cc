/* Context: allocates caches and state, runs batches and decode steps. */
#include <string.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "context.h"
#include "copy.h"

namespace llama2::cuda {

namespace {

int maxBatchOf(int slots) { return std::max(32, slots); }

KvCache cacheOf(const Config& p) {
  return {nullptr, nullptr, p.nLayers, p.nKvHeads, p.seqLen, roundUp(p.headSize(), 8)};
}

size_t cacheBytes(const Config& p, const Options& options, int slots) {
  return cacheOf(p).size(slots) * (options.kvPrecision == KvPrecision::kFp16 ? 2 : 4);
}

size_t keysOf(const Config& p) {
  size_t size = 1;
  while (size < static_cast<size_t>(p.vocabSize)) size *= 2;
  return size;
}

size_t partsOf(const Config& p) { return static_cast<size_t>(p.nHeads) * ((p.seqLen + chunkOf(p) - 1) / chunkOf(p)); }

/* The most blocks that the classifier's grid has: one candidate for each is stored in s.best. */
size_t bestOf(const Config& p) { return (static_cast<size_t>(p.vocabSize) + kWarps - 1) / kWarps; }

void checkEntry(const Entry& e, const Config& p, int slots) {
  if (e.token < 0 || e.token >= p.vocabSize) throw std::invalid_argument("token out of range");
  if (e.pos < 0 || e.pos >= p.seqLen) throw std::invalid_argument("position out of range");
  if (e.sequence < 0 || e.sequence >= slots) throw std::invalid_argument("sequence out of range");
}

}  // namespace

size_t contextBytes(const Config& p, const Options& options, int slots) {
  const size_t entry =
      sizeof(Entry) +
      4 * (2 * size_t(p.dim) + p.hiddenDim + p.headSize() + partsOf(p) * (2 + p.headSize()) + p.vocabSize) +
      8 * bestOf(p);
  const size_t slot = sizeof(Draw) + sizeof(int) + 4 * size_t(p.vocabSize) + 8 * keysOf(p);
  return 2 * cacheBytes(p, options, slots) + entry * maxBatchOf(slots) + slot * slots;
}

Memory estimateMemory(const Config& config, const Options& options, int slots) {
  return {weightBytes(config, options), contextBytes(config, options, slots)};
}

Context::Parts::Parts(Transformer::Parts& t, int slotCount)
    : transformer(t),
      p(t.config),
      w(t.w),
      stream(t.stream.get()),
      slots(slotCount),
      maxBatch(maxBatchOf(slotCount)),
      keys(cacheBytes(t.config, t.options, slotCount)),
      values(cacheBytes(t.config, t.options, slotCount)),
      cache(cacheOf(t.config)),
      entries(maxBatch),
      draws(slotCount),
      tokens(static_cast<size_t>(kMaxSteps) * slotCount) {
  const size_t batch = maxBatch;
  s.entries = Buffer<Entry>(batch);
  s.x = Buffer<float>(batch * p.dim);
  s.q = Buffer<float>(batch * p.dim);
  s.hb = Buffer<float>(batch * p.hiddenDim);
  s.fcr = Buffer<float>(batch * (p.headSize() / 2));
  s.fci = Buffer<float>(batch * (p.headSize() / 2));
  s.attM = Buffer<float>(batch * partsOf(p));
  s.attL = Buffer<float>(batch * partsOf(p));
  s.attValues = Buffer<float>(batch * partsOf(p) * p.headSize());
  s.logits = Buffer<float>(batch * p.vocabSize);
  s.best = Buffer<uint64_t>(batch * bestOf(p));
  s.draws = Buffer<Draw>(slots);
  s.terms = Buffer<float>(static_cast<size_t>(slots) * p.vocabSize);
  s.keys = Buffer<uint64_t>(slots * keysOf(p));
  s.step = Buffer<int>(slots);
  cache.keys = keys.get();
  cache.values = values.get();
  partials = {s.attM.get(), s.attL.get(), s.attValues.get(), (p.seqLen + chunkOf(p) - 1) / chunkOf(p), chunkOf(p)};
  // kernels read the padding of rows, which must be zero
  t.stream.clear(cache.keys, cacheBytes(p, t.options, slots));
  t.stream.clear(cache.values, cacheBytes(p, t.options, slots));
}

Context::Parts::~Parts() {
  cudaStreamSynchronize(stream);
  forgetGraphs();
}

void Context::Parts::forgetGraphs() {
  for (const auto& [key, graph] : graphs) cudaGraphExecDestroy(graph);
  graphs.clear();
}

Context::Context(Transformer& transformer, int slots) {
  Transformer::Parts& t = *transformer.parts_;
  if (slots < 1) throw std::invalid_argument("slots");
  t.use();
  requireFree(contextBytes(t.config, t.options, slots), "the context");
  parts_.reset(new Parts(t, slots));
}
Context::~Context() = default;
int Context::slots() const { return parts_->slots; }
int Context::maxBatch() const { return parts_->maxBatch; }
int Context::maxSteps() const { return kMaxSteps; }

/* Copy the entries to the device. The pinned buffer may be reused once the stream has been waited for. */
void Context::Parts::send(const Entry* batch, int count) {
  std::copy(batch, batch + count, entries.get());
  transformer.stream.toDevice(s.entries.get(), entries.get(), count);
}

void Context::forward(const Entry* batch, int count, int wanted, float* logits) {
  Parts& own = *parts_;
  if (count < 1 || count > own.maxBatch) throw std::invalid_argument("the size of a batch");
  if (wanted < 0 || wanted > count) throw std::invalid_argument("how many logits are wanted");
  for (int e = 0; e < count; e++) checkEntry(batch[e], own.p, own.slots);
  own.transformer.use();
  own.send(batch, count);
  own.forward(count);
  if (wanted > 0) {
    own.classify(count - wanted, wanted);
    own.transformer.stream.toHost(logits, own.s.logits.get(), static_cast<size_t>(wanted) * own.p.vocabSize);
  }
  own.transformer.stream.wait();
}

void Context::copy(int from, int to, int positions) {
  Parts& own = *parts_;
  for (const int slot : {from, to}) {
    if (slot < 0 || slot >= own.slots) throw std::invalid_argument("sequence out of range");
  }
  if (positions < 0 || positions > own.p.seqLen) throw std::invalid_argument("position out of range");
  if (from == to || positions == 0) return;
  own.transformer.use();
  const int bytesEach = own.transformer.options.kvPrecision == KvPrecision::kFp16 ? 2 : 4;
  const Launch how = {dim3(static_cast<unsigned>(own.p.nLayers * own.p.nKvHeads)), kThreads, 0, own.stream, false};
  check(launch(how, copySlot, own.cache, bytesEach, from, to, positions), "copySlot");
}

/* The graph of one step of decode(), captured when it is first needed. */
cudaGraphExec_t Context::Parts::graphOf(int count, bool greedy) {
  const auto found = graphs.find({count, greedy});
  if (found != graphs.end()) return found->second;
  if (graphs.size() == kMostGraphs)
    forgetGraphs();  // counts only fall as sequences end, so old graphs are not needed again
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  try {
    forward(count);
    classify(0, count);
    sample(count, greedy);
  } catch (...) {
    // otherwise the stream would stay in capture mode
    cudaStreamEndCapture(stream, &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  const cudaError_t status = cudaGraphInstantiate(&exec, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "cudaGraphInstantiate");
  return graphs[{count, greedy}] = exec;
}

void Context::decode(const Sequence* sequences, int count, int steps) {
  Parts& own = *parts_;
  if (count < 1 || count > own.slots) throw std::invalid_argument("the number of sequences");
  if (steps < 1 || steps > kMaxSteps) throw std::invalid_argument("the number of steps");
  own.transformer.use();
  own.transformer.stream.wait();
  bool greedy = true;
  std::vector<Entry> batch(count);
  for (int e = 0; e < count; e++) {
    const Sequence& q = sequences[e];
    checkEntry(q.next, own.p, own.slots);
    batch[e] = q.next;
    own.draws.get()[e] = {q.temperature, q.topp, q.rngState, q.stop, 0};
    greedy = greedy && q.temperature == 0.0f;
  }
  own.send(batch.data(), count);
  own.transformer.stream.toDevice(own.s.draws.get(), own.draws.get(), count);
  own.transformer.stream.clear(own.s.step.get(), count * sizeof(int));
  std::fill_n(own.tokens.get(), steps * count, kPending);
  const cudaGraphExec_t graph = own.graphOf(count, greedy);
  own.decoding = count;
  for (int step = 0; step < steps; step++) check(cudaGraphLaunch(graph, own.stream), "cudaGraphLaunch");
}

const int32_t* Context::tokens(int step) {
  Parts& own = *parts_;
  const int count = own.decoding;
  if (step < 0 || step >= kMaxSteps) throw std::invalid_argument("step out of range");
  int32_t* row = own.tokens.get() + static_cast<size_t>(step) * count;
  const auto there = [&] {
    return std::none_of(row, row + count, [](const volatile int32_t& token) { return token == kPending; });
  };
  while (!there()) {
    const cudaError_t status = cudaStreamQuery(own.stream);
    if (status == cudaSuccess && !there()) throw std::invalid_argument("step was not started");
    if (status != cudaErrorNotReady) check(status, "decode");
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  return row;
}

void Context::finish(Sequence* sequences) {
  Parts& own = *parts_;
  const Stream& stream = own.transformer.stream;
  stream.toHost(own.entries.get(), own.s.entries.get(), own.decoding);
  stream.toHost(own.draws.get(), own.s.draws.get(), own.decoding);
  stream.wait();
  for (int e = 0; e < own.decoding; e++) {
    sequences[e].next = own.entries.get()[e];
    sequences[e].rngState = own.draws.get()[e].rngState;
    if (own.draws.get()[e].ended == 2) sequences[e].next.pos = own.p.seqLen;
  }
}

}  // namespace llama2::cuda
