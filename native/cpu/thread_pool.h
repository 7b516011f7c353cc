/*
 * Threads that work on one job together: each takes its share, and they wait for each other at barriers.
 *
 * A forward pass has tens of barriers and takes from tens of microseconds to seconds. Waking a thread takes longer than
 * most waits, so a waiting thread first spins; then it yields its processor, perhaps to the thread that it waits for;
 * then it sleeps, so that an idle pool costs nothing. Waits longer than the spinning are reported, so that the caller
 * can use fewer threads: src/backend/team.ts.
 */
#ifndef LLAMA2_CPU_THREAD_POOL_H
#define LLAMA2_CPU_THREAD_POOL_H

#include <stdint.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "memory.h"

namespace llama2 {

/* A number that only grows. One thread sets it; others can wait for a value. */
class alignas(kCacheLine) Counter {
 public:
  uint64_t value() const { return value_.load(std::memory_order_acquire); }
  void set(uint64_t value);
  /*
   * Waits until the value has reached `goal`: spins for `patience` microseconds, then sleeps. Returns how many
   * milliseconds that took, or 0 if it was within `patience`.
   */
  double await(uint64_t goal, int patience);

 private:
  void sleepUntil(uint64_t goal);

  std::atomic<uint64_t> value_{0};
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

/* The share of thread number `thread` of `threads` in `count` items: from `begin` to before `end`. */
struct Share {
  int begin, end;
  Share(int count, int thread, int threads)
      : begin(static_cast<int>(static_cast<long long>(count) * thread / threads)),
        end(static_cast<int>(static_cast<long long>(count) * (thread + 1) / threads)) {}
};

class ThreadPool {
 public:
  /* The calling thread is one of `threads`. Throws std::system_error if the others cannot be started. */
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(members_.size()); }

  /*
   * Runs work(thread) on the first `team` threads, numbered from 0, until all are done. Returns for how many
   * milliseconds a thread waited for a late one. The work must not throw.
   */
  template <typename Work>
  double run(int team, Work&& work) {
    return runAll(
        team, [](void* context, int thread) { (*static_cast<Work*>(context))(thread); }, &work);
  }

  /* Within `run`: waits until the whole team has arrived. After it, all see what the others wrote before it. */
  void barrier(int thread);

 private:
  using Job = void (*)(void* context, int thread);

  struct Member {
    Counter called;         // for how many jobs
    Counter arrived;        // at which barrier, counted over all jobs
    uint64_t barriers = 0;  // the same number, for the member itself
    double late = 0;        // for how many milliseconds it waited for late threads in this job
  };

  double runAll(int team, Job job, void* context);
  void help(int thread);
  void arrive(Member& member) { member.arrived.set(++member.barriers); }
  void awaitOthers(int thread);
  void stop();

  const int patience_;
  std::vector<Member> members_;
  std::vector<std::thread> helpers_;
  // the current job
  Job job_ = nullptr;
  void* context_ = nullptr;
  int team_ = 1;
  uint64_t barriers_ = 0;  // that all jobs before this one had
  bool stopping_ = false;
};

}  // namespace llama2

#endif
