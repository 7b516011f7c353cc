#include "thread_pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace llama2 {

namespace {

/* About 50 microseconds. */
constexpr int kSpins = 2000;

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/* With fewer cores than threads, who spins keeps the one from running for whom it waits. */
int spinsFor(int threads) { return threads <= static_cast<int>(std::thread::hardware_concurrency()) ? kSpins : 0; }

}  // namespace

void Counter::increment() {
  value_.fetch_add(1, std::memory_order_seq_cst);
  // A sleeper announces itself before it looks at the value for the last time, so one of us sees the other.
  if (sleepers_.load(std::memory_order_seq_cst) == 0) return;
  // Only once we had the mutex is a sleeper surely past its look, and within reach of the call.
  std::lock_guard<std::mutex> lock(mutex_);
  changed_.notify_all();
}

void Counter::waitWhile(unsigned old, int spins) {
  for (int i = 0; i < spins; i++) {
    if (value() != old) return;
    pause();
  }
  std::unique_lock<std::mutex> lock(mutex_);
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (value_.load(std::memory_order_seq_cst) == old) changed_.wait(lock);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

ThreadPool::ThreadPool(int threads) : threads_(threads), spins_(spinsFor(threads)) {
  helpers_.reserve(threads - 1);
  try {
    for (int thread = 1; thread < threads; thread++) helpers_.emplace_back(&ThreadPool::help, this, thread);
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stopping_ = true;
  started_.increment();
  for (std::thread& helper : helpers_) helper.join();
}

void ThreadPool::runAll(Job job, void* context) {
  job_ = job;
  context_ = context;
  if (threads_ > 1) started_.increment();
  job(context, 0);
  barrier();
}

void ThreadPool::help(int thread) {
  for (unsigned jobs = 0;; jobs++) {
    started_.waitWhile(jobs, spins_);
    if (stopping_) return;
    job_(context_, thread);
    barrier();
  }
}

void ThreadPool::barrier() {
  if (threads_ == 1) return;
  const unsigned passed = passed_.value();
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 < threads_) {
    passed_.waitWhile(passed, spins_);
  } else {
    arrived_.store(0, std::memory_order_relaxed);
    passed_.increment();
  }
}

}  // namespace llama2
