/*
 * sweep BYTES THREADS SECONDS: how fast this machine reads memory, in GB/s: again and again, a share a thread, memory
 * like that in which weights lie. No forward pass over so many bytes can be faster. bench/engines.mjs builds and runs
 * it.
 */
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "memory.h"
#include "thread_pool.h"

namespace {

/* A cache line. */
typedef int64_t Line __attribute__((vector_size(64)));

constexpr int kSums = 8;  // so that no load waits for the sum of the one before
/* Measured: the processor's own prefetching leaves a fifth of the bandwidth unused; asking a page ahead gets it. */
constexpr int kAhead = 64;  // lines

void read(const Line* lines, int count) {
  Line sums[kSums] = {};
  for (int i = 0; i + kSums <= count; i += kSums) {
    for (int k = 0; k < kSums; k++) {
      __builtin_prefetch(lines + i + k + kAhead);
      sums[k] ^= lines[i + k];
    }
  }
  for (int k = 1; k < kSums; k++) sums[0] ^= sums[k];
  asm volatile("" ::"m"(sums[0]));  // somebody wants it, so it must be computed
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: sweep BYTES THREADS SECONDS\n");
    return 2;
  }
  const int lines = static_cast<int>(atoll(argv[1]) / sizeof(Line));
  const int threads = atoi(argv[2]);
  const double seconds = atof(argv[3]);

  const llama2::Memory memory(lines * sizeof(Line), llama2::Pages::kHuge);
  memset(memory.start(), 1, lines * sizeof(Line));  // a page that was never written is no memory
  const auto* data = reinterpret_cast<const Line*>(memory.start());
  llama2::ThreadPool pool(threads);
  const auto sweep = [&] {
    pool.run(threads, [&](int thread) {
      const llama2::Share share(lines, thread, threads);
      read(data + share.begin, share.end - share.begin);
    });
  };

  sweep();
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  double elapsed = 0;
  double bytes = 0;
  while (elapsed < seconds) {
    sweep();
    bytes += static_cast<double>(lines) * sizeof(Line);
    elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  }
  printf("%.3f\n", bytes / elapsed / 1e9);
  return 0;
}
