#include "sweep.h"

#include <string.h>

#include <algorithm>
#include <chrono>

#include "memory.h"
#include "thread_pool.h"

namespace llama2 {

double readBandwidth(const Kernels& kernels, size_t bytes, int threads, double seconds) {
  const int lines = static_cast<int>(bytes / kCacheLine);
  const Memory memory(lines * kCacheLine, Pages::kHuge);
  memset(memory.start(), 1, lines * kCacheLine);  // pages that were never written have no memory behind them
  ThreadPool pool(threads);
  using Clock = std::chrono::steady_clock;
  /* How many seconds one takes. */
  const auto sweep = [&](int streams) {
    const auto start = Clock::now();
    pool.run(threads, [&](int thread) {
      const Share share(lines, thread, threads);
      kernels.sweep(memory.start() + share.begin * kCacheLine, share.end - share.begin, streams);
    });
    return std::chrono::duration<double>(Clock::now() - start).count();
  };

  sweep(1);
  double one = 0, four = 0;
  int sweeps = 0;
  do {
    one += sweep(1);
    four += sweep(4);
    sweeps++;
  } while (one + four < seconds);
  return sweeps * static_cast<double>(lines) * kCacheLine / std::min(one, four);
}

}  // namespace llama2
