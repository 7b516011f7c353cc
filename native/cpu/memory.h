/* Large blocks of memory: zeroed, aligned, and on huge pages if the system has them. */
#ifndef LLAMA2_CPU_MEMORY_H
#define LLAMA2_CPU_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace llama2 {

constexpr size_t kCacheLine = 64;
constexpr size_t kHugePage = size_t{2} << 20;

/* `count` of T, rounded up to whole cache lines. */
template <typename T>
constexpr size_t wholeLines(size_t count) {
  constexpr size_t line = kCacheLine / sizeof(T);
  return (count + line - 1) / line * line;
}

/* How memory will be touched. */
enum class Pages {
  kHuge,  // all of it, again and again: larger pages cause fewer TLB misses
  kLazy,  // gradually, perhaps never all: a page takes memory only once it is touched
};

class Memory {
 public:
  Memory(size_t bytes, Pages pages) {
    const size_t alignment = pages == Pages::kHuge ? kHugePage : kCacheLine;
    // calloc: fresh pages from the system are zero already, and cost nothing until they are touched
    block_ = calloc(bytes + alignment, 1);
    if (block_ == nullptr) throw std::bad_alloc();
    const auto address = reinterpret_cast<uintptr_t>(block_);
    start_ = static_cast<char*>(block_) + (alignment - address % alignment) % alignment;
#if defined(__linux__)
    // only a hint: if it is refused, nothing changes
    if (pages == Pages::kHuge) madvise(start_, bytes, MADV_HUGEPAGE);
#endif
  }
  ~Memory() { free(block_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  char* start() const { return start_; }

 private:
  void* block_;
  char* start_;
};

/*
 * Divides a block of memory into parts. Without a block it only counts, so the same code that lays out the parts also
 * computes the size of the block.
 */
class Parts {
 public:
  Parts() : next_(nullptr) {}
  explicit Parts(const Memory& memory) : next_(memory.start()) {}

  /* Room for `count` of T, from a new cache line on. */
  template <typename T>
  T* take(size_t count) {
    const size_t bytes = wholeLines<T>(count) * sizeof(T);
    T* const taken = reinterpret_cast<T*>(next_);
    if (next_ != nullptr) next_ += bytes;
    bytes_ += bytes;
    return taken;
  }

  size_t bytes() const { return bytes_; }

 private:
  char* next_;
  size_t bytes_ = 0;
};

}  // namespace llama2

#endif
