/*
 * One kernel for a whole token against a kernel for each phase: would the former be worth writing?
 *
 * The phases of 15M with its bytes and its hand-overs, and the backend's own matvec, but none of the arithmetic
 * between: what is measured is a bound, in an hour's work instead of a week's. Both ways call the same function for a
 * phase, so they must give the same bits.
 */
#include "../matvec.h"
#include "bench.h"
#include "limits.h"
#include "sections.h"
#include "together.h"

namespace llama2::check {

using cuda::Columns;
using cuda::kThreads;
using cuda::kWarps;
using cuda::Matrix;
using cuda::Rows;
using cuda::Tiling;

namespace {

constexpr int kMostLayers = 6;
constexpr int kPhases = 5;  // of a layer

struct Skeleton {
  Matrix wqkv[kMostLayers], wo[kMostLayers], w13[kMostLayers], w2[kMostLayers], wcls;
  int layers;
  float* x;       // (dim)
  float* qkv;     // (3 * dim)
  float* att;     // (dim)
  float* hb;      // (hiddenDim)
  float* logits;  // (vocabSize)
  unsigned* counter;
  int* failed;

  __host__ __device__ int phases() const { return kPhases * layers + 2; }
};

/* The factor of rmsnorm, by all threads of a block, from numbers that other blocks wrote in this launch. */
__device__ __forceinline__ float normFactor(const float* x, int n) {
  SHARED(float, parts, [kWarps]);
  float ss = 0.0f;
  for (int j = static_cast<int>(threadIdx.x); j < n; j += kThreads) ss = fmaf(loadL2(x + j), loadL2(x + j), ss);
  ss = cuda::warpSum(ss);
  if (cuda::laneOf() == 0) parts[cuda::warpOf()] = ss;
  __syncthreads();  // orders the writes of parts before the reads below
  ss = 0.0f;
  for (int w = 0; w < kWarps; w++) ss += parts[w];
  return 1.0f / sqrtf(ss / static_cast<float>(n) + 1e-5f);
}

/* out = w x, R rows at a time; or out += w x. */
template <int R, bool add, class Wait>
__device__ __forceinline__ void multiply(const Matrix& w, const float* x, bool norm, float* out, Wait wait) {
  const Columns<float> columns = {cuda::sharedMemory(), Tiling{w.stride, 0}, 1};
  float factor = 1.0f;
  cuda::matvec<float, R, 1>(
      w.d / R, columns,
      [&](int unit) {
        Rows<R> rows;
        for (int r = 0; r < R; r++) {
          rows.matrix[r] = &w;
          rows.row[r] = R * unit + r;
        }
        return rows;
      },
      [&] {
        wait();
        if (norm) factor = normFactor(x, w.n);
      },
      [&](int, int j) { return factor * loadL2(x + j); },
      [&](int unit, int, const float* v) {
        for (int r = 0; r < R; r++) out[R * unit + r] = add ? loadL2(out + R * unit + r) + v[r] : v[r];
      });
}

/* Some number for each of `count`, of numbers that came from everywhere; shared among all blocks. */
template <class Wait, class Number>
__device__ __forceinline__ void each(int count, Wait wait, float* out, Number number) {
  cuda::letNextKernelStart();
  cuda::waitForPreviousKernel();
  wait();
  for (int i = static_cast<int>(blockIdx.x * kThreads + threadIdx.x); i < count;
       i += static_cast<int>(gridDim.x) * kThreads) {
    out[i] = number(i);
  }
}

/* `wait` is called once, before anything is read that the phase before has written. */
template <class Wait>
__device__ __forceinline__ void runPhase(const Skeleton& m, int phase, Wait wait) {
  const int l = phase / kPhases;
  const int dim = m.wcls.n;
  if (phase == kPhases * m.layers) return multiply<1, false>(m.wcls, m.x, true, m.logits, wait);
  if (phase > kPhases * m.layers) {
    // what the next token begins with
    return each(dim, wait, m.x, [&](int i) { return loadL2(m.x + i) * 0.5f + loadL2(m.logits + i); });
  }
  switch (phase % kPhases) {
    case 0:
      return multiply<2, false>(m.wqkv[l], m.x, true, m.qkv, wait);
    case 1:
      return each(dim, wait, m.att,
                  [&](int i) { return loadL2(m.qkv + i) + loadL2(m.qkv + dim + i) * loadL2(m.qkv + 2 * dim + i); });
    case 2:
      return multiply<1, true>(m.wo[l], m.att, false, m.x, wait);
    case 3:
      return multiply<2, false>(m.w13[l], m.x, true, m.hb, wait);
    default:
      return multiply<1, true>(m.w2[l], m.hb, false, m.x, wait);
  }
}

__global__ void __launch_bounds__(kThreads) onePhase(Skeleton m, int phase) {
  runPhase(m, phase, [] {});
}

__global__ void __launch_bounds__(kThreads) allPhases(Skeleton m, int tokens) {
  unsigned round = 0;
  int tries = kMostTries;
  for (int token = 0; token < tokens; token++) {
    for (int phase = 0; phase < m.phases(); phase++) {
      runPhase(m, phase, [&] {
        if (round > 0) waitFor(m.counter, round, tries);
      });
      arriveAt(m.counter);
      round++;
    }
  }
  if (tries <= 0) *m.failed = 1;
}

__global__ void __launch_bounds__(kThreads) fillWeights(float* to, size_t count, float scale) {
  const size_t step = static_cast<size_t>(gridDim.x) * kThreads;
  for (size_t i = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += step) {
    const unsigned mixed = (static_cast<unsigned>(i) * 2654435761u ^ static_cast<unsigned>(i >> 7)) * 0x85ebca6bu;
    to[i] = (static_cast<float>(mixed >> 8) * 0x1p-24f - 0.5f) * scale;
  }
}

class Model {
 public:
  Model(int dim, int hidden, int layers, int vocabSize)
      : dim_(dim), hidden_(hidden), layers_(layers), vocab_(vocabSize) {
    m_.layers = layers;
    for (int l = 0; l < layers; l++) {
      m_.wqkv[l] = matrix(3 * dim, dim);
      m_.wo[l] = matrix(dim, dim);
      m_.w13[l] = matrix(2 * hidden, dim);
      m_.w2[l] = matrix(dim, hidden);
    }
    m_.wcls = matrix(vocabSize, dim);
    m_.x = vector(dim);
    m_.qkv = vector(3 * dim);
    m_.att = vector(dim);
    m_.hb = vector(2 * hidden);
    m_.logits = vector(vocabSize);
    counter_ = Buffer<unsigned>(1);
    failed_ = Buffer<int>(1);
    m_.counter = counter_.get();
    m_.failed = failed_.get();
  }

  const Stream stream;

  void start() {
    std::vector<float> x(dim_);
    for (int i = 0; i < dim_; i++) x[i] = static_cast<float>(i % 17) / 8 - 1;
    stream.toDevice(m_.x, x.data(), x.size());
    stream.clear(m_.counter, sizeof(unsigned));
    stream.clear(m_.failed, sizeof(int));
    stream.wait();
  }
  std::vector<float> result() {
    std::vector<float> all(vocab_);
    stream.toHost(all.data(), m_.logits, all.size());
    stream.wait();
    return all;
  }
  bool failed() {
    int value = 0;
    stream.toHost(&value, m_.failed, 1);
    stream.wait();
    return value != 0;
  }

  /* A kernel for each phase, with a warp for each unit, as the backend starts them. */
  void enqueueToken(int most, bool early) {
    for (int phase = 0; phase < m_.phases(); phase++) {
      const int rows[] = {3 * dim_ / 2, 1, dim_, hidden_, dim_};
      const int units = phase < kPhases * layers_ ? rows[phase % kPhases] : phase == kPhases * layers_ ? vocab_ : 1;
      const unsigned blocks = static_cast<unsigned>(std::min((units + kWarps - 1) / kWarps, most));
      check(cuda::launch(Launch{dim3(blocks), kThreads, shared(), stream.get(), early}, onePhase, m_, phase),
            "onePhase");
    }
  }
  cudaError_t launchAll(int tokens, unsigned blocks) {
    return launchTogether(Launch{dim3(blocks), kThreads, shared(), stream.get(), false}, 0, allPhases, m_, tokens);
  }
  unsigned mostBlocks() const {
    int each = 0;
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, allPhases, kThreads, shared()), "occupancy");
    return static_cast<unsigned>(each * multiprocessors());
  }
  int phases() const { return m_.phases(); }

 private:
  size_t shared() const { return static_cast<size_t>(std::max(dim_, hidden_)) * sizeof(float); }

  Matrix matrix(int d, int n) {
    const size_t count = static_cast<size_t>(d) * n;
    memory_.emplace_back(count);
    const Launch how = {dim3(64), kThreads, 0, stream.get(), false};
    check(cuda::launch(how, fillWeights, memory_.back().get(), count, 2.0f / sqrtf(static_cast<float>(n))),
          "fillWeights");
    return {memory_.back().get(), nullptr, d, n, n, 0, 0};
  }
  float* vector(int n) {
    memory_.emplace_back(n);
    return memory_.back().get();
  }

  const int dim_, hidden_, layers_, vocab_;
  std::vector<Buffer<float>> memory_;
  Buffer<unsigned> counter_;
  Buffer<int> failed_;
  Skeleton m_ = {};
};

}  // namespace

bool measurePersistent(const Settings& settings) {
  Verdicts verdicts;
  Model model = settings.small ? Model(32, 64, 2, 96) : Model(288, 768, 6, 32000);
  const int tokens = settings.small ? 2 : 64;
  const int most = 4 * multiprocessors();

  std::vector<float> expected;
  for (const bool early : {false, true}) {
    if (early && !startsEarly()) continue;
    const Graph graph(model.stream, [&] { model.enqueueToken(most, early); });
    const auto seconds = secondsOf(settings, model.stream, [&] {
      for (int token = 0; token < tokens; token++) graph.launch();
    });
    model.start();
    for (int token = 0; token < tokens; token++) graph.launch();
    const auto result = model.result();
    if (expected.empty()) expected = result;
    Line line(early ? "a kernel for each phase, early start" : "a kernel for each phase");
    line.samples(times(seconds, 1e6 / tokens), "us").number("phases", model.phases());
    verdicts.add(line, result == expected);
  }
  const unsigned full = model.mostBlocks();
  std::vector<unsigned> sizes;
  for (unsigned each = 1; each * multiprocessors() <= full; each *= 2) sizes.push_back(each * multiprocessors());
  for (const unsigned blocks : sizes) {
    const std::string what = "one kernel of " + std::to_string(blocks) + " blocks";
    if (!settings.allows(what)) continue;
    std::vector<double> seconds;
    for (int sample = -1; sample < settings.samples(); sample++) {
      model.start();
      const auto begin = std::chrono::steady_clock::now();
      check(model.launchAll(tokens, blocks), "launchTogether");
      model.stream.wait();
      if (sample >= 0) seconds.push_back(secondsSince(begin));
    }
    Line line(what);
    line.samples(times(seconds, 1e6 / tokens), "us").number("phases", model.phases());
    verdicts.add(line, !model.failed() && model.result() == expected);
  }
  return verdicts.all();
}

}  // namespace llama2::check
