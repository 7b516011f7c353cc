/*
 * Threads that work on one thing together: each takes its share, and they wait for each other at barriers.
 *
 * A forward pass has about a hundred barriers and lasts from tens of microseconds to seconds. Who waits spins for a
 * moment, since waking a sleeper takes longer than most waits, and then sleeps, so that an idle pool costs nothing.
 */
#ifndef LLAMA2_CPU_THREAD_POOL_H
#define LLAMA2_CPU_THREAD_POOL_H

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace llama2 {

/* A counter that only grows, and that threads can wait for. */
class Counter {
 public:
  unsigned value() const { return value_.load(std::memory_order_acquire); }
  void increment();
  /* Returns once the value is no longer `old`. Tries `spins` times before it sleeps. */
  void waitWhile(unsigned old, int spins);

 private:
  std::atomic<unsigned> value_{0};
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

/* What thread number `thread` of `threads` takes of `count` things: those from `begin` to before `end`. */
struct Share {
  int begin, end;
  Share(int count, int thread, int threads)
      : begin(static_cast<int>(static_cast<long long>(count) * thread / threads)),
        end(static_cast<int>(static_cast<long long>(count) * (thread + 1) / threads)) {}
};

class ThreadPool {
 public:
  /* The calling thread is one of `threads`. Throws std::system_error if there are not so many to be had. */
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  /* Runs work(thread) on all threads, numbered from 0, and returns when all are done. It must not throw. */
  template <typename Work>
  void run(Work&& work) {
    runAll([](void* context, int thread) { (*static_cast<Work*>(context))(thread); }, &work);
  }

  /* Within `run`: returns when all threads are here. What they wrote before is seen by all after. */
  void barrier();

 private:
  using Job = void (*)(void* context, int thread);

  void runAll(Job job, void* context);
  void help(int thread);
  void stop();

  const int threads_;
  const int spins_;
  Job job_ = nullptr;
  void* context_ = nullptr;
  bool stopping_ = false;
  Counter started_;  // jobs
  Counter passed_;   // barriers
  std::atomic<int> arrived_{0};
  std::vector<std::thread> helpers_;
};

}  // namespace llama2

#endif
