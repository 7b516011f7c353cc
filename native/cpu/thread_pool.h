/*
 * Threads that work on one thing together: each takes its share, and they wait for each other at barriers.
 *
 * A forward pass has tens of barriers and lasts from tens of microseconds to seconds. Waking a sleeper takes longer
 * than most waits, so who waits first spins; then it offers its processor to others, perhaps to the one it waits for;
 * then it sleeps, so that an idle pool costs nothing. What was waited for longer than that is reported, so that the
 * caller can do with fewer threads: src/backend/team.ts.
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

/* A number that only grows, set by one thread, and that others can wait for. */
class alignas(kCacheLine) Counter {
 public:
  uint64_t value() const { return value_.load(std::memory_order_acquire); }
  void set(uint64_t value);
  /*
   * Returns once the value has reached `goal`: how many milliseconds that took, or 0 if it was no longer than
   * `patience`, in microseconds, after which it sleeps.
   */
  double await(uint64_t goal, int patience);

 private:
  void sleepUntil(uint64_t goal);

  std::atomic<uint64_t> value_{0};
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

  int threads() const { return static_cast<int>(members_.size()); }

  /*
   * Runs work(thread) on the first `team` threads, numbered from 0, and returns when all are done: the milliseconds for
   * which one of them stood still because another was late. The work must not throw.
   */
  template <typename Work>
  double run(int team, Work&& work) {
    return runAll(
        team, [](void* context, int thread) { (*static_cast<Work*>(context))(thread); }, &work);
  }

  /* Within `run`: returns when all of the team are here. What they wrote before is seen by all after. */
  void barrier(int thread);

 private:
  using Job = void (*)(void* context, int thread);

  struct Member {
    Counter called;         // for how many jobs
    Counter arrived;        // at which barrier, counted through all jobs
    uint64_t barriers = 0;  // the same number, for the member itself
    double late = 0;        // the milliseconds that it waited for the late in this job
  };

  double runAll(int team, Job job, void* context);
  void help(int thread);
  void arrive(Member& member) { member.arrived.set(++member.barriers); }
  void awaitOthers(int thread);
  void stop();

  const int patience_;
  std::vector<Member> members_;
  std::vector<std::thread> helpers_;
  // what the members are called for
  Job job_ = nullptr;
  void* context_ = nullptr;
  int team_ = 1;
  uint64_t barriers_ = 0;  // that all jobs before this one had
  bool stopping_ = false;
};

}  // namespace llama2

#endif
