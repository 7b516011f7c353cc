/*
 * Runs a grid on one CPU thread: its blocks one after another, or a few at a time; the threads of a block as fibers
 * that switch only where CUDA threads synchronize, at __syncthreads and when a warp exchanges values.
 *
 * CUDA guarantees no order of blocks and threads, so a kernel must be correct in all of them. The environment chooses:
 *   EMULATOR_SCHEDULE=forward|reverse|random   first to last; last to first; a new random order for each launch
 *   EMULATOR_SEED=n                            the seed of random
 *   EMULATOR_RESIDENT=n                        how many blocks run at the same time
 *
 * Shared memory starts as NaN. A kernel that breaks a rule makes its launch throw std::runtime_error, with the thread
 * and the source line.
 */
#ifndef LLAMA2_EMULATOR_GRID_H
#define LLAMA2_EMULATOR_GRID_H

#include <string.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "fiber.h"
#if defined(__SANITIZE_THREAD__)
#include "races.h"
#endif

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace emulator {

constexpr size_t kMostThreads = 1024;       // in a block
constexpr size_t kSharedLimit = 48 * 1024;  // bytes a block gets without asking for more

/* A source line of a kernel. */
struct Site {
  const char* file;
  int line;
  UNWATCHED bool operator==(const Site& other) const {
    return line == other.line && (file == other.file || strcmp(file, other.file) == 0);
  }
};
#define HERE [[maybe_unused]] emulator::Site here = {__builtin_FILE(), __builtin_LINE()}

struct Block;
struct Thread {
  Fiber fiber;
  uint3 index;
  Block* block;
  enum { kReady, kBarrier, kExchange, kEnded } state;
  Site site;                // where it waits
  uint64_t offered, other;  // the value that it gives in an exchange, and the one that it gets
  int partner;              // the lane that it gets from
  bool waited;              // whether it has called waitForPreviousKernel()
};

struct SharedArray {
  const void* declaration;
  uint64_t* memory;
  bool fresh;  // already filled with NaN for this block
};

struct Block {
  uint3 index;
  Thread* threads;
  unsigned alive, arrived;
  unsigned exchanging[32];  // lanes of each warp that have arrived
  SharedArray arrays[16];
  unsigned arrayCount;
  std::unique_ptr<uint64_t[]> dynamic;
  size_t sharedBytes;
  IF_RACES(unsigned number; uint64_t interval;)

  ~Block() { forgetArrays(); }
  void forgetArrays() {
    while (arrayCount > 0) delete[] arrays[--arrayCount].memory;
  }
};

/* The grid that is running: there is only one. */
class Grid {
 public:
  UNWATCHED static Grid& get() {
    static Grid& grid = *new Grid;
    return grid;
  }

  dim3 gridDim, blockDim;
  inline static Thread* current = nullptr;

  /* With `early`, the kernel may start before the previous one has ended, so each of its threads must wait for it. */
  void run(dim3 grid, unsigned threads, size_t dynamicBytes, bool early, const std::function<void()>& kernel) {
    early_ = early;
    gridDim = grid;
    blockDim = dim3(threads);
    kernel_ = &kernel;
    IF_RACES(races_.startLaunch();)
    dynamicBytes_ = dynamicBytes;
    for (size_t k = 0; k < resident_; k++) blocks_[k].forgetArrays();  // of the previous kernel
    std::vector<unsigned> order(grid.x * grid.y * grid.z);
    for (unsigned i = 0; i < order.size(); i++) order[i] = i;
    if (schedule_ == kReverse) std::reverse(order.begin(), order.end());
    for (size_t i = order.size(); schedule_ == kRandom && i > 1; i--) std::swap(order[i - 1], order[random() % i]);
    for (size_t i = 0; i < order.size(); i += resident_) {
      runBlocks(&order[i], std::min<size_t>(resident_, order.size() - i));
    }
  }

  UNWATCHED void barrier(Site here) {
    Thread* t = current;
    wait(t, Thread::kBarrier, here);
    t->block->arrived++;
    if (!completeBarrier(t->block)) suspend();
  }

  UNWATCHED uint64_t exchange(uint64_t offered, int partner, Site here) {
    Thread* t = current;
    wait(t, Thread::kExchange, here);
    t->offered = offered;
    t->partner = partner;
    if (!completeExchange(t)) suspend();
    return t->other;
  }

#if defined(__SANITIZE_THREAD__)
  /* The thread that runs accesses this. */
  UNWATCHED void watch(const void* address, size_t size, Access access, const void* instruction) {
    Thread* t = current;
    const Block* b = t->block;
    if (t->fiber.holds(address)) return;
    const uint64_t rival = races_.record(address, size, access, {b->interval, b->number, t->index.x});
    if (rival != 0) failRace(rival, instruction);
  }
#endif

  UNWATCHED void* sharedArray(const void* declaration, size_t size) {
    Block* b = current->block;
    SharedArray* found = b->arrays;
    while (found != b->arrays + b->arrayCount && found->declaration != declaration) ++found;
    if (found == b->arrays + b->arrayCount) {
      if (b->arrayCount == 16) fail("more than 16 shared arrays", current, current);
      b->arrays[b->arrayCount++] = {declaration, new uint64_t[(size + 15) / 16 * 2], false};
    }
    if (!found->fresh) {
      b->sharedBytes += size;
      if (b->sharedBytes > kSharedLimit) fail("more shared memory than a block has", current, current);
      fillNan(found->memory, size);
      IF_RACES(races_.forget(found->memory, size);)
      found->fresh = true;
    }
    return found->memory;
  }

 private:
  Grid() {
    const auto setting = [](const char* name) { return std::string(getenv(name) ? getenv(name) : ""); };
    const std::string schedule = setting("EMULATOR_SCHEDULE");
    schedule_ = schedule == "reverse" ? kReverse : schedule == "random" ? kRandom : kForward;
    random_ = 2 * static_cast<uint64_t>(atoi(setting("EMULATOR_SEED").c_str())) + 1;
    resident_ = std::max(1, atoi(setting("EMULATOR_RESIDENT").c_str()));
    threads_.reset(new Thread[capacity()]);
    blocks_.reset(new Block[resident_]());
    ready_ = new Thread*[capacity()];
  }

  UNWATCHED size_t capacity() const { return kMostThreads * resident_; }

  void runBlocks(const unsigned* indices, size_t count) {
    prepare(indices, count);
    failure_.clear();
    main_->switchTo(next()->fiber);
    current = nullptr;
    if (failure_.empty() && alive_ > 0) {
      failure_ = "deadlock";
      for (size_t i = 0; i < count * blockDim.x && failure_.size() < 400; i++) {
        if (threads_[i].state != Thread::kEnded) failure_ += "\n  " + describe(&threads_[i]);
      }
    }
    IF_RACES(if (racing_ != nullptr) failure_ += sourceOf(std::exchange(racing_, nullptr));)
    if (!failure_.empty()) throw std::runtime_error("emulator: " + failure_);
  }

  UNWATCHED void prepare(const unsigned* indices, size_t count) {
    const unsigned n = blockDim.x;
    first_ = last_ = 0;
    alive_ = static_cast<unsigned>(count * n);
    for (size_t k = 0; k < count; k++) {
      Block& b = blocks_[k];
      const unsigned i = indices[k];
      b.index = indexOf(i);
      b.threads = &threads_[k * n];
      b.alive = n;
      b.arrived = 0;
      memset(b.exchanging, 0, sizeof b.exchanging);
      for (SharedArray& array : b.arrays) array.fresh = false;
      // anew for each block, so that AddressSanitizer knows its size
      b.dynamic.reset(new uint64_t[(dynamicBytes_ + 15) / 16 * 2]);
      b.sharedBytes = dynamicBytes_;
      fillNan(b.dynamic.get(), dynamicBytes_);
      IF_RACES(races_.forget(b.dynamic.get(), dynamicBytes_); b.number = i; b.interval = races_.startInterval(i);)
      IF_ASAN(
          __asan_poison_memory_region(reinterpret_cast<char*>(b.dynamic.get()) + dynamicBytes_, -dynamicBytes_ % 16);)
      for (unsigned j = 0; j < n; j++) {
        Thread& t = b.threads[j];
        t.index = {j, 0, 0};
        t.block = &b;
        t.waited = false;
        t.fiber.start(entry);
        ready(&t);
      }
    }
  }

  static UNWATCHED void entry() {
    Grid& g = get();
    g.current->fiber.arrive();
    (*g.kernel_)();
    Thread* t = g.current;
    if (g.early_ && !t->waited) g.fail("a thread ends without having waited for the kernel before", t, t);
    t->state = Thread::kEnded;
    t->block->alive--;
    g.alive_--;
    g.completeBarrier(t->block);  // a barrier does not wait for threads that have ended
    Thread* n = g.next();
    t->fiber.switchTo(n ? n->fiber : *g.main_, true);
  }

  UNWATCHED void wait(Thread* t, decltype(Thread::state) state, Site here) {
    t->state = state;
    t->site = here;
  }
  UNWATCHED void ready(Thread* t) {
    t->state = Thread::kReady;
    ready_[last_++ % capacity()] = t;
  }
  /* The thread that runs next, or null. */
  UNWATCHED Thread* next() {
    if (first_ == last_) return current = nullptr;
    if (schedule_ == kReverse) return current = ready_[--last_ % capacity()];
    if (schedule_ == kRandom) {
      Thread*& chosen = ready_[(first_ + random() % (last_ - first_)) % capacity()];
      Thread*& front = ready_[first_ % capacity()];
      Thread* t = chosen;
      chosen = front;
      front = t;
    }
    return current = ready_[first_++ % capacity()];
  }
  UNWATCHED uint64_t random() {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    return random_ ^= random_ << 17;
  }
  /* Let other threads run while the current one waits. */
  UNWATCHED void suspend() {
    Thread* me = current;
    Thread* n = next();
    if (n != me) me->fiber.switchTo(n ? n->fiber : *main_);
  }

  UNWATCHED bool completeBarrier(Block* b) {
    if (b->alive == 0 || b->arrived != b->alive) return false;
    b->arrived = 0;
    IF_RACES(b->interval = races_.startInterval(b->number);)
    const Thread* any = nullptr;
    for (unsigned i = 0; i < blockDim.x; i++) {
      Thread* t = &b->threads[i];
      if (t->state != Thread::kBarrier) continue;
      if (any != nullptr && !(t->site == any->site)) fail("threads meet at different barriers", any, t);
      any = t;
      release(t);
    }
    return true;
  }

  UNWATCHED bool completeExchange(Thread* t) {
    const unsigned warp = t->index.x / 32;
    if (++t->block->exchanging[warp] < 32) return false;
    t->block->exchanging[warp] = 0;
    Thread* lanes = &t->block->threads[warp * 32];
    for (int i = 0; i < 32; i++) {
      if (!(lanes[i].site == t->site)) fail("a warp exchanges values at different lines", t, &lanes[i]);
      lanes[i].other = lanes[lanes[i].partner].offered;
    }
    for (int i = 0; i < 32; i++) release(&lanes[i]);
    return true;
  }

  /* End a thread's wait. */
  UNWATCHED void release(Thread* t) {
    if (t == current) {
      t->state = Thread::kReady;
    } else {
      ready(t);
    }
  }

  /* Uninitialised memory is NaN, so that results computed from it are NaN. */
  UNWATCHED static void fillNan(void* memory, size_t size) {
    volatile char* byte = static_cast<char*>(memory);
    while (size-- > 0) *byte++ = static_cast<char>(0xff);
  }

  UNWATCHED uint3 indexOf(unsigned block) const {
    return {block % gridDim.x, block / gridDim.x % gridDim.y, block / gridDim.x / gridDim.y};
  }
  static std::string nameOf(const uint3& block, const std::string& thread) {
    const auto text = [](unsigned number) { return std::to_string(number); };
    return "block " + text(block.x) + "," + text(block.y) + "," + text(block.z) + " thread " + thread;
  }
  static std::string nameOf(const Thread* t) { return nameOf(t->block->index, std::to_string(t->index.x)); }
  static std::string describe(const Thread* t) {
    return nameOf(t) + (t->site.file ? std::string(" ") + t->site.file : "") + ":" + std::to_string(t->site.line);
  }
  /* Abort the launch. */
  [[noreturn]] UNWATCHED void fail(const char* what, const Thread* a, const Thread* b) {
    Thread* me = current;
    current = nullptr;  // from here on, nothing is watched
    failure_ = what + ("\n  " + describe(a)) + "\n  " + describe(b);
    abandon(me);
  }
#if defined(__SANITIZE_THREAD__)
  [[noreturn]] UNWATCHED void failRace(uint64_t rival, const void* instruction) {
    Thread* me = current;
    current = nullptr;  // from here on, nothing is watched
    const unsigned block = races_.blockOf(rival), thread = Races::threadOf(rival);
    const std::string which = thread < kMostThreads ? std::to_string(thread) : "several";
    failure_ = "a race\n  " + nameOf(me) + "\n  " +
               (block == Races::kNoBlock ? "several blocks" : nameOf(indexOf(block), which));
    racing_ = instruction;
    abandon(me);
  }
#endif
  [[noreturn]] UNWATCHED void abandon(Thread* me) {
    me->fiber.switchTo(*main_);
    abort();
  }

  bool early_ = false;
  enum { kForward, kReverse, kRandom } schedule_;
  uint64_t random_;
  size_t resident_;

  Fiber* main_ = Fiber::main();
  std::unique_ptr<Thread[]> threads_;  // their stacks are kept from launch to launch
  std::unique_ptr<Block[]> blocks_;
  Thread** ready_;  // a ring, from first_ to before last_
  size_t first_ = 0, last_ = 0;
  unsigned alive_ = 0;
  size_t dynamicBytes_ = 0;
  const std::function<void()>* kernel_ = nullptr;
  std::string failure_;
  IF_RACES(Races races_; const void* racing_ = nullptr;)  // the instruction of a race
};

#if defined(__SANITIZE_THREAD__)
UNWATCHED inline void watch(const void* address, size_t size, Access access, const void* instruction) {
  if (Grid::current != nullptr) Grid::get().watch(address, size, access, instruction);
}
#endif

}  // namespace emulator

#endif
