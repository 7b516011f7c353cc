/*
 * Finds races between CUDA threads: two accesses to a byte, at least one of them a write, with no barrier between.
 *
 * g++ -fsanitize=thread calls the functions at the end for each access. They stand in for ThreadSanitizer's own, with
 * which the program is not linked: those keep a clock for each thread with an entry for each other thread, and so take
 * minutes for what takes seconds here. In a grid the order is simple. Threads of a block are ordered by the block's
 * barriers alone, threads of different blocks by nothing, and launches follow each other. So each byte needs but two
 * stamps: who wrote it last, who read it last, and between which barriers. No race is missed, whatever the order in
 * which blocks and threads run, or how many blocks run at a time.
 */
#ifndef LLAMA2_EMULATOR_RACES_H
#define LLAMA2_EMULATOR_RACES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <new>
#include <string>

#include "fiber.h"

namespace emulator {

enum class Access { kRead, kWrite, kAtomic };

/* All its functions are unwatched, and so it uses no containers, which are not. */
class Races {
 public:
  /* A thread between two barriers. Each block has a new interval as it starts, and as it passes a barrier. */
  struct Actor {
    uint64_t interval;
    unsigned block, thread;
  };

  /* A new launch: nothing races with what was before. */
  UNWATCHED void startLaunch() {
    launch_ += intervals_;
    intervals_ = 0;
    startInterval(kNoBlock);
    if (pageCount_ > kManyPages) forgetPages();
  }
  UNWATCHED uint64_t startInterval(unsigned block) {
    if (intervals_ == capacity_) {
      capacity_ = 2 * capacity_ + 1024;
      blocks_ = static_cast<unsigned*>(realloc(blocks_, capacity_ * sizeof(unsigned)));
      if (blocks_ == nullptr) throw std::bad_alloc();
    }
    blocks_[intervals_] = block;
    return launch_ + intervals_++;
  }

  /* Returns the stamp of an earlier access that this one races with, or 0. */
  UNWATCHED uint64_t record(const void* address, size_t size, Access access, const Actor& me) {
    uint64_t rival = 0;
    for (uintptr_t byte = reinterpret_cast<uintptr_t>(address), end = byte + size; byte < end && rival == 0;) {
      Word* word = wordOf(byte);
      const bool whole = byte % 4 == 0 && end - byte >= 4;
      if (whole && !word->split) {
        rival = record(word->bytes[0], access, me);
      } else if (whole) {
        for (int i = 0; i < 4 && rival == 0; i++) rival = record(word->bytes[i], access, me);
        word->split = access == Access::kRead;  // after a write, the four are the same
      } else {
        if (!word->split) word->bytes[1] = word->bytes[2] = word->bytes[3] = word->bytes[0];
        word->split = true;
        rival = record(word->bytes[byte % 4], access, me);
      }
      byte += whole ? 4 : 1;
    }
    return rival;
  }

  /* This memory is about to be used by another block. */
  UNWATCHED void forget(const void* memory, size_t size) {
    const uintptr_t start = reinterpret_cast<uintptr_t>(memory);
    for (uintptr_t byte = start & ~uintptr_t{3}; byte < start + size; byte += 4) *wordOf(byte) = {};
  }

  static constexpr unsigned kNoBlock = ~0u;   // several blocks
  static constexpr unsigned kSeveral = 1024;  // threads of a block
  /* The block and the thread of a stamp. */
  UNWATCHED unsigned blockOf(uint64_t stamp) const { return blocks_[(stamp >> kThreadBits) - launch_]; }
  UNWATCHED static unsigned threadOf(uint64_t stamp) { return stamp % (1 << kThreadBits); }

 private:
  static constexpr unsigned kAtomics = 1025;  // threads that use an atomic function, which do not race with each other
  static constexpr int kThreadBits = 11, kPageBits = 16;
  static constexpr size_t kMostPages = 1 << 16, kManyPages = 256;

  /* The stamps of the last accesses to a byte: the interval and the thread. 0: none. */
  struct Byte {
    uint64_t written, read;
  };
  struct Word {
    Byte bytes[4];
    bool split;  // else the first byte stands for all
  };
  struct Page {
    uintptr_t number;
    Word* words;
  };

  UNWATCHED uint64_t record(Byte& byte, Access access, const Actor& me) const {
    const uint64_t mine = me.interval << kThreadBits | (access == Access::kAtomic ? kAtomics : me.thread);
    const Byte before = byte;
    if (access != Access::kRead) {
      byte.written = mine;
      if (conflict(before.read, me, mine)) return before.read;
    } else if (before.read != mine) {
      byte.read = both(before.read, me, mine);
    }
    return conflict(before.written, me, mine) ? before.written : 0;
  }
  UNWATCHED bool conflict(uint64_t stamp, const Actor& me, uint64_t mine) const {
    const uint64_t interval = stamp >> kThreadBits;
    if (interval < launch_ || stamp == mine) return false;
    if (threadOf(stamp) == kAtomics && threadOf(mine) == kAtomics) return false;
    return interval == me.interval || blockOf(stamp) != me.block;
  }
  /* The stamp that stands for two readers: it conflicts with whatever conflicts with one of them. */
  UNWATCHED uint64_t both(uint64_t stamp, const Actor& me, uint64_t mine) const {
    const uint64_t interval = stamp >> kThreadBits;
    if (interval < launch_) return mine;
    if (interval == me.interval) return interval << kThreadBits | kSeveral;
    return blockOf(stamp) == me.block ? mine : launch_ << kThreadBits | kSeveral;
  }

  UNWATCHED Word* wordOf(uintptr_t byte) {
    const uintptr_t number = byte >> kPageBits;
    size_t i = number * 0x9e3779b97f4a7c15u >> 48;
    while (pages_[i].number != number) {
      if (pages_[i].words == nullptr) {
        if (++pageCount_ == kMostPages) throw std::bad_alloc();
        pages_[i] = {number, static_cast<Word*>(zeros(kPageSize))};
        break;
      }
      i = (i + 1) % kMostPages;
    }
    return &pages_[i].words[byte % (1 << kPageBits) / 4];
  }
  /* The host allocates and frees between launches: pages of what it has freed would add up. */
  UNWATCHED void forgetPages() {
    for (size_t i = 0; i < kMostPages; i++) {
      if (pages_[i].words != nullptr) munmap(pages_[i].words, kPageSize);
      pages_[i] = {};
    }
    pageCount_ = 0;
  }
  UNWATCHED static void* zeros(size_t size) {
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    return memory;
  }

  static constexpr size_t kPageSize = (size_t{1} << kPageBits) / 4 * sizeof(Word);
  uint64_t launch_ = 1;                    // its first interval, which stands for several blocks
  uint64_t intervals_ = 0, capacity_ = 0;  // of the launch
  unsigned* blocks_ = nullptr;             // of each interval
  Page* pages_ = static_cast<Page*>(zeros(kMostPages * sizeof(Page)));  // a hash table
  size_t pageCount_ = 0;
};

/* The source lines of an instruction: the line itself, then those that it was inlined into. */
inline std::string sourceOf(const void* instruction) {
  char command[80], text[1000];
  snprintf(command, sizeof command, "addr2line -i -e /proc/%d/exe %p", getpid(), instruction);
  std::string lines;
  if (FILE* pipe = popen(command, "r")) {
    while (fgets(text, sizeof text, pipe) != nullptr)
      lines += std::string("\n  ") + std::string(text, strcspn(text, "\n"));
    pclose(pipe);
  }
  return lines;
}

/* An access by the thread that runs, if one does. Defined in grid.h. */
void watch(const void* address, size_t size, Access access, const void* instruction);

}  // namespace emulator

#define EMULATOR_WATCHER extern "C" inline __attribute__((used, no_sanitize("thread")))
#define EMULATOR_WATCH(ACCESS, SIZE)                                    \
  emulator::watch(const_cast<void*>(p), SIZE, emulator::Access::ACCESS, \
                  static_cast<char*>(__builtin_return_address(0)) - 1)

EMULATOR_WATCHER void __tsan_read1(void* p) { EMULATOR_WATCH(kRead, 1); }
EMULATOR_WATCHER void __tsan_read2(void* p) { EMULATOR_WATCH(kRead, 2); }
EMULATOR_WATCHER void __tsan_read4(void* p) { EMULATOR_WATCH(kRead, 4); }
EMULATOR_WATCHER void __tsan_read8(void* p) { EMULATOR_WATCH(kRead, 8); }
EMULATOR_WATCHER void __tsan_read16(void* p) { EMULATOR_WATCH(kRead, 16); }
EMULATOR_WATCHER void __tsan_write1(void* p) { EMULATOR_WATCH(kWrite, 1); }
EMULATOR_WATCHER void __tsan_write2(void* p) { EMULATOR_WATCH(kWrite, 2); }
EMULATOR_WATCHER void __tsan_write4(void* p) { EMULATOR_WATCH(kWrite, 4); }
EMULATOR_WATCHER void __tsan_write8(void* p) { EMULATOR_WATCH(kWrite, 8); }
EMULATOR_WATCHER void __tsan_write16(void* p) { EMULATOR_WATCH(kWrite, 16); }
EMULATOR_WATCHER void __tsan_read_range(void* p, size_t size) { EMULATOR_WATCH(kRead, size); }
EMULATOR_WATCHER void __tsan_write_range(void* p, size_t size) { EMULATOR_WATCH(kWrite, size); }
EMULATOR_WATCHER unsigned __tsan_atomic32_fetch_add(volatile void* p, unsigned value, int order) {
  EMULATOR_WATCH(kAtomic, 4);
  return __atomic_fetch_add(static_cast<volatile unsigned*>(p), value, order);
}
/* Of the host: whether a static variable of a function has its value. */
EMULATOR_WATCHER unsigned char __tsan_atomic8_load(const volatile void* p, int) {
  return __atomic_load_n(static_cast<const volatile unsigned char*>(p), __ATOMIC_ACQUIRE);
}
EMULATOR_WATCHER void __tsan_vptr_update(void*, void*) {}
EMULATOR_WATCHER void __tsan_func_entry(void*) {}
EMULATOR_WATCHER void __tsan_func_exit(void*) {}
EMULATOR_WATCHER void __tsan_init() {}

#undef EMULATOR_WATCH
#undef EMULATOR_WATCHER

#endif
