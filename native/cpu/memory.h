/* Large blocks of memory: zeroed, aligned, on huge pages where the system gives them. */
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

/* How memory will be touched. */
enum class Pages {
  kHuge,  // all of it, again and again: fewer, larger pages are faster to find
  kLazy,  // little by little, perhaps never all: a page counts only once it is touched
};

class Memory {
 public:
  Memory(size_t bytes, Pages pages) {
    const size_t alignment = pages == Pages::kHuge ? kHugePage : kCacheLine;
    // calloc, because fresh pages from the system are zero already, and cost nothing until they are touched
    block_ = calloc(bytes + alignment, 1);
    if (block_ == nullptr) throw std::bad_alloc();
    const auto address = reinterpret_cast<uintptr_t>(block_);
    start_ = static_cast<char*>(block_) + (alignment - address % alignment) % alignment;
#if defined(__linux__)
    // a wish, whose refusal changes nothing
    if (pages == Pages::kHuge) madvise(start_, bytes, MADV_HUGEPAGE);
#endif
  }
  ~Memory() { free(block_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /* The next `count` numbers of this memory, from a new cache line on. The caller keeps within `bytes`. */
  template <typename T>
  T* take(size_t count) {
    T* taken = reinterpret_cast<T*>(start_ + used_);
    used_ += sizeFor<T>(count);
    return taken;
  }

  /* How many bytes `take` uses up. */
  template <typename T>
  static constexpr size_t sizeFor(size_t count) {
    return (count * sizeof(T) + kCacheLine - 1) / kCacheLine * kCacheLine;
  }

 private:
  void* block_;
  char* start_;
  size_t used_ = 0;
};

}  // namespace llama2

#endif
