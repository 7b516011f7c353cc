/*
 * How long it takes to hand 288 floats, the activations of 15M, from all blocks to all blocks: the first of the five
 * measurements that decide whether a persistent kernel is worth writing.
 *
 * A phase is what a layer does between two matmuls: every block reads all numbers, and computes its share of the next.
 * The ways: a kernel for each phase, in a graph and with an early start; grid.sync(); a counter; words that carry their
 * phase beside the number, so that the data is the flag; and within a cluster, writes into each other's shared memory.
 */
#include <string.h>

#include "bench.h"
#include "limits.h"
#include "sections.h"
#include "together.h"

namespace llama2::check {

namespace {

constexpr int kNumbers = 288;
constexpr int kThreads = 256;
enum Way { kGridSync, kCounter, kTagged, kCluster };

struct HandOff {
  float* numbers;    // (2, kNumbers) those of this phase and of the next
  uint64_t* tagged;  // (2, kNumbers) bits of a number, and above them its phase
  unsigned* counter;
  int* failed;
  int phases;
};

/* Any numbers, of which each needs several of the phase before. */
__host__ __device__ inline float nextOf(const float* all, int i) {
  return 0.5f * all[i] + (0.25f * all[(i + 7) % kNumbers] + 0.125f * all[(i + 100) % kNumbers]);
}

template <Way way>
__global__ void __launch_bounds__(kThreads) handOff(HandOff h) {
  SHARED(float, all, [2][kNumbers]);
  const int share = (kNumbers + static_cast<int>(gridDim.x) - 1) / static_cast<int>(gridDim.x);
  const int first = static_cast<int>(blockIdx.x) * share;
  const int mine = first + static_cast<int>(threadIdx.x);
  const bool busy = static_cast<int>(threadIdx.x) < share && mine < kNumbers;
  if (way == kCluster) {
    for (int i = static_cast<int>(threadIdx.x); i < kNumbers; i += kThreads) all[0][i] = h.numbers[i];
    clusterSync();  // every block is there before another one writes to it
  }
  int tries = kMostTries;
  for (int phase = 0; phase < h.phases; phase++) {
    float* now = all[phase % 2];
    const size_t from = static_cast<size_t>(phase % 2) * kNumbers, to = static_cast<size_t>((phase + 1) % 2) * kNumbers;
    if (way != kCluster) {
      for (int i = static_cast<int>(threadIdx.x); i < kNumbers; i += kThreads) {
        if (way == kTagged) {
          uint64_t word = loadRelaxed(h.tagged + from + i);
          while (static_cast<int>(word >> 32) < phase && --tries > 0) {
            spinPause();
            word = loadRelaxed(h.tagged + from + i);
          }
          now[i] = __uint_as_float(static_cast<unsigned>(word));
        } else {
          now[i] = loadL2(h.numbers + from + i);
        }
      }
    }
    __syncthreads();  // orders the writes of all numbers before the reads below
    if (busy) {
      const float next = nextOf(now, mine);
      if (way == kTagged) {
        storeRelaxed(h.tagged + to + mine, static_cast<uint64_t>(phase + 1) << 32 | __float_as_uint(next));
      } else if (way == kCluster) {
        for (unsigned block = 0; block < gridDim.x; block++) storeToBlock(&all[(phase + 1) % 2][mine], block, next);
      } else {
        h.numbers[to + mine] = next;
      }
    }
    if (way == kGridSync) gridSync();
    if (way == kCounter) {
      arriveAt(h.counter);
      waitFor(h.counter, static_cast<unsigned>(phase + 1), tries);
    }
    if (way == kCluster) clusterSync();
  }
  if (tries <= 0) *h.failed = 1;
  // what came out last, for the host
  if (way == kCluster && busy) h.numbers[static_cast<size_t>(h.phases % 2) * kNumbers + mine] = all[h.phases % 2][mine];
  if (way == kTagged && busy) {
    const size_t last = static_cast<size_t>(h.phases % 2) * kNumbers + mine;
    h.numbers[last] = __uint_as_float(static_cast<unsigned>(loadRelaxed(h.tagged + last)));
  }
}

/* One phase as a kernel of its own. */
__global__ void __launch_bounds__(kThreads) handOffOnce(const float* from, float* to) {
  SHARED(float, all, [kNumbers]);
  cuda::letNextKernelStart();
  cuda::waitForPreviousKernel();
  for (int i = static_cast<int>(threadIdx.x); i < kNumbers; i += kThreads) all[i] = from[i];
  __syncthreads();  // orders the writes of all before the reads below
  const int share = (kNumbers + static_cast<int>(gridDim.x) - 1) / static_cast<int>(gridDim.x);
  const int mine = static_cast<int>(blockIdx.x) * share + static_cast<int>(threadIdx.x);
  if (static_cast<int>(threadIdx.x) < share && mine < kNumbers) to[mine] = nextOf(all, mine);
}

/* The barriers alone. */
template <Way way>
__global__ void __launch_bounds__(kThreads) barriers(HandOff h) {
  int tries = kMostTries;
  for (int phase = 0; phase < h.phases; phase++) {
    if (way == kGridSync) gridSync();
    if (way == kCluster) clusterSync();
    if (way == kCounter) {
      arriveAt(h.counter);
      waitFor(h.counter, static_cast<unsigned>(phase + 1), tries);
    }
  }
  if (tries <= 0) *h.failed = 1;
}

std::vector<float> start() {
  std::vector<float> numbers(2 * kNumbers);
  for (int i = 0; i < kNumbers; i++) numbers[i] = static_cast<float>(i + 1);
  return numbers;
}

std::vector<float> expected(int phases) {
  std::vector<float> now = start(), next(2 * kNumbers);
  for (int phase = 0; phase < phases; phase++) {
    for (int i = 0; i < kNumbers; i++) next[i] = nextOf(now.data(), i);
    now.swap(next);
  }
  now.resize(kNumbers);
  return now;
}

class Measurement {
 public:
  Measurement(const Settings& settings, Verdicts& verdicts)
      : settings_(settings),
        verdicts_(verdicts),
        numbers_(2 * kNumbers),
        tagged_(2 * kNumbers),
        counter_(1),
        failed_(1) {}

  /* A way, with so many blocks: the time of a phase, and whether the numbers are right. */
  template <Way way>
  void measure(const std::string& what, unsigned blocks, unsigned cluster) {
    runIfItCan(what, blocks, cluster, handOff<way>, true);
  }
  template <Way way>
  void measureBarrier(const std::string& what, unsigned blocks, unsigned cluster) {
    runIfItCan(what, blocks, cluster, barriers<way>, false);
  }

  void measureKernels(const std::string& what, unsigned blocks, bool early) {
    const int phases = settings_.small ? 4 : 500;
    reset();
    const Launch how = {dim3(blocks), kThreads, 0, stream_.get(), early};
    const auto enqueue = [&](int phase) {
      const size_t from = static_cast<size_t>(phase % 2) * kNumbers, to = kNumbers - from;
      check(cuda::launch(how, handOffOnce, numbers_.get() + from, numbers_.get() + to), "handOffOnce");
    };
    const auto seconds = secondsEach(settings_, stream_, phases, enqueue);
    reset();
    Graph(stream_, [&] {
      for (int phase = 0; phase < phases; phase++) enqueue(phase);
    }).launch();
    Line line(what);
    line.samples(times(seconds, 1e6), "us").number("blocks", blocks);
    verdicts_.add(line, result(phases) == expected(phases));
  }

 private:
  /* A card may refuse so many blocks together; anything that fails later is an error. */
  void runIfItCan(const std::string& what, unsigned blocks, unsigned cluster, void (*kernel)(HandOff), bool hands) {
    const HandOff none = {numbers_.get(), tagged_.get(), counter_.get(), failed_.get(), 0};
    const Launch how = {dim3(blocks), kThreads, 0, stream_.get(), false};
    const cudaError_t status = launchTogether(how, cluster, kernel, none);
    if (status == cudaSuccess) return run(what, blocks, cluster, kernel, hands);
    cudaGetLastError();
    Line(what).text("skipped", cudaGetErrorString(status));
  }

  void run(const std::string& what, unsigned blocks, unsigned cluster, void (*kernel)(HandOff), bool hands) {
    const int few = settings_.small ? 3 : 500, many = settings_.small ? 7 : 2500;
    std::vector<double> each;
    for (int sample = -1; sample < settings_.samples(); sample++) {
      const double least = secondsOnce(few, blocks, cluster, kernel);
      const double most = secondsOnce(many, blocks, cluster, kernel);
      if (sample >= 0) each.push_back((most - least) / (many - few) * 1e6);
    }
    int failed = 0;
    stream_.toHost(&failed, failed_.get(), 1);
    const bool right = !hands || result(many) == expected(many);
    stream_.wait();
    Line line(what);
    line.samples(each, "us").number("blocks", blocks);
    verdicts_.add(line, right && failed == 0);
  }

  double secondsOnce(int phases, unsigned blocks, unsigned cluster, void (*kernel)(HandOff)) {
    reset();
    const HandOff h = {numbers_.get(), tagged_.get(), counter_.get(), failed_.get(), phases};
    stream_.wait();
    const auto begin = std::chrono::steady_clock::now();
    check(launchTogether(Launch{dim3(blocks), kThreads, 0, stream_.get(), false}, cluster, kernel, h),
          "launchTogether");
    stream_.wait();
    return secondsSince(begin);
  }

  void reset() {
    std::vector<uint64_t> words(2 * kNumbers, ~uint64_t{0});  // of no phase
    const std::vector<float> numbers = start();
    for (int i = 0; i < kNumbers; i++) {
      unsigned bits;
      memcpy(&bits, &numbers[i], sizeof bits);
      words[i] = bits;
    }
    stream_.toDevice(numbers_.get(), numbers.data(), numbers.size());
    stream_.toDevice(tagged_.get(), words.data(), words.size());
    stream_.clear(counter_.get(), sizeof(unsigned));
    stream_.clear(failed_.get(), sizeof(int));
    stream_.wait();
  }

  std::vector<float> result(int phases) {
    std::vector<float> numbers(kNumbers);
    stream_.toHost(numbers.data(), numbers_.get() + static_cast<size_t>(phases % 2) * kNumbers, kNumbers);
    stream_.wait();
    return numbers;
  }

  const Settings& settings_;
  Verdicts& verdicts_;
  const Stream stream_;
  const Buffer<float> numbers_;
  const Buffer<uint64_t> tagged_;
  const Buffer<unsigned> counter_;
  const Buffer<int> failed_;
};

bool hasClusters() {
  int major = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "cudaDeviceGetAttribute");
  return major >= 9;
}

}  // namespace

bool measureHandOff(const Settings& settings) {
  Verdicts verdicts;
  Measurement m(settings, verdicts);
  std::vector<unsigned> sizes = {8, 16, 32, 64, static_cast<unsigned>(multiprocessors())};
  if (settings.small) sizes = {2, 4};
  for (const unsigned blocks : sizes) {
    const std::string among = " among " + std::to_string(blocks) + " blocks";
    if (!settings.allows("hand-off" + among)) continue;
    m.measureKernels("a kernel each" + among, blocks, false);
    if (startsEarly()) m.measureKernels("a kernel each, early start" + among, blocks, true);
    m.measure<kGridSync>("grid.sync" + among, blocks, 0);
    m.measure<kCounter>("counter" + among, blocks, 0);
    m.measure<kTagged>("tagged words" + among, blocks, 0);
    m.measureBarrier<kGridSync>("grid.sync, nothing else" + among, blocks, 0);
    m.measureBarrier<kCounter>("counter, nothing else" + among, blocks, 0);
  }
  sizes = {8, 16};
  if (settings.small) sizes = {2, 4};
  for (const unsigned blocks : sizes) {
    const std::string among = " among " + std::to_string(blocks) + " blocks";
    if (!hasClusters()) {
      Line("cluster" + among).text("skipped", "needs sm_90");
      continue;
    }
    m.measure<kCluster>("cluster" + among, blocks, blocks);
    m.measureBarrier<kCluster>("cluster, nothing else" + among, blocks, blocks);
  }
  return verdicts.all();
}

}  // namespace llama2::check
