#include "sweep.h"

#include <string.h>

#include <chrono>

#include "memory.h"
#include "thread_pool.h"

namespace llama2 {

double readBandwidth(const Kernels& kernels, size_t bytes, int threads, double seconds) {
  const int lines = static_cast<int>(bytes / kCacheLine);
  const Memory memory(lines * kCacheLine, Pages::kHuge);
  memset(memory.start(), 1, lines * kCacheLine);  // pages that were never written have no memory behind them
  ThreadPool pool(threads);
  const auto all = [&] {
    pool.run(threads, [&](int thread) {
      const Share share(lines, thread, threads);
      kernels.sweep(memory.start() + share.begin * kCacheLine, share.end - share.begin);
    });
  };

  all();
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  double elapsed = 0;
  double read = 0;
  while (elapsed < seconds) {
    all();
    read += static_cast<double>(lines) * kCacheLine;
    elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  }
  return read / elapsed;
}

}  // namespace llama2
