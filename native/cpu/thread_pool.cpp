#include "thread_pool.h"

#include <algorithm>
#include <chrono>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace llama2 {

namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;

/* Longer than the time between two tokens, so that the team is awake for the next one. */
constexpr int kPatience = 50;  // microseconds

/* Checks of a counter for each check of the clock, which takes longer. */
constexpr int kLooks = 32;

/* How often a thread yields its processor before it sleeps. */
constexpr int kYields = 4;

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/* With more threads than processors, a spinner can block the thread it waits for. */
int patienceOf(int threads) { return threads <= static_cast<int>(std::thread::hardware_concurrency()) ? kPatience : 0; }

}  // namespace

void Counter::set(uint64_t value) {
  value_.store(value, std::memory_order_seq_cst);
  // A thread announces its sleep before its last check of the value, so one of the two sees the other.
  if (sleepers_.load(std::memory_order_seq_cst) == 0) return;
  // Taking the mutex makes sure that a sleeper is past its check, and waits for the notification.
  std::lock_guard<std::mutex> lock(mutex_);
  changed_.notify_all();
}

double Counter::await(uint64_t goal, int patience) {
  if (value() >= goal) return 0;
  const auto start = Clock::now();
  do {
    for (int i = 0; i < kLooks; i++) {
      if (value() >= goal) return 0;
      pause();
    }
  } while (Clock::now() - start < std::chrono::microseconds(patience));
  for (int i = 0; i < kYields && value() < goal; i++) std::this_thread::yield();
  if (value() < goal) sleepUntil(goal);
  return Milliseconds(Clock::now() - start).count();
}

void Counter::sleepUntil(uint64_t goal) {
  std::unique_lock<std::mutex> lock(mutex_);
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (value_.load(std::memory_order_seq_cst) < goal) changed_.wait(lock);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

ThreadPool::ThreadPool(int threads) : patience_(patienceOf(threads)), members_(threads) {
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
  for (Member& member : members_) member.called.set(UINT64_MAX);
  for (std::thread& helper : helpers_) helper.join();
}

double ThreadPool::runAll(int team, Job job, void* context) {
  job_ = job;
  context_ = context;
  team_ = team;
  Member& me = members_[0];
  me.late = 0;
  barriers_ = me.barriers;
  for (int thread = 1; thread < team; thread++) {
    Counter& called = members_[thread].called;
    called.set(called.value() + 1);
  }
  job(context, 0);
  arrive(me);
  awaitOthers(0);
  double late = 0;
  for (int thread = 0; thread < team; thread++) late = std::max(late, members_[thread].late);
  return late;
}

void ThreadPool::help(int thread) {
  Member& me = members_[thread];
  for (uint64_t call = 1;; call++) {
    me.called.await(call, patience_);
    if (stopping_) return;
    me.late = 0;
    me.barriers = barriers_;
    job_(context_, thread);
    arrive(me);
  }
}

void ThreadPool::barrier(int thread) {
  arrive(members_[thread]);
  awaitOthers(thread);
}

void ThreadPool::awaitOthers(int thread) {
  Member& me = members_[thread];
  for (int other = 0; other < team_; other++) {
    if (other != thread) me.late += members_[other].arrived.await(me.barriers, patience_);
  }
}

}  // namespace llama2
