/*
 * Fibers: each CUDA thread is one. They run one at a time, and each switch names the fiber that runs next.
 * AddressSanitizer is told about every switch.
 */
#ifndef LLAMA2_EMULATOR_FIBER_H
#define LLAMA2_EMULATOR_FIBER_H

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <new>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define IF_ASAN(...) __VA_ARGS__
#else
#define IF_ASAN(...)
#endif
#if defined(__SANITIZE_THREAD__)
#define IF_RACES(...) __VA_ARGS__
#else
#define IF_RACES(...)
#endif

/* For functions that use the emulator's own state, which fibers share without locks. */
#define UNWATCHED __attribute__((no_sanitize("address", "thread", "undefined")))

namespace emulator {

#if defined(__x86_64__)
/* Push what a call preserves, swap stacks, pop. swapcontext would make a system call each time: 15 times slower. */
extern "C" void emulatorSwap(void** saved, void* next);
asm(".pushsection .text.emulatorSwap,\"axG\",@progbits,emulatorSwap,comdat\n"
    ".weak emulatorSwap\n"
    ".type emulatorSwap,@function\n"
    "emulatorSwap:\n"
    "push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n"
    "mov %rsp,(%rdi); mov %rsi,%rsp\n"
    "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; ret\n"
    ".size emulatorSwap,.-emulatorSwap\n"
    ".popsection");
#endif

constexpr size_t kStack = IF_ASAN(256 * 1024 +) 64 * 1024;

class Fiber {
 public:
  /* The fiber that is running: the program itself. */
  static Fiber* main() {
    static Fiber fiber;
    pthread_attr_t attributes;
    void* stack;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &stack, &fiber.size_);
    pthread_attr_destroy(&attributes);
    fiber.stack_ = static_cast<char*>(stack);
    return &fiber;
  }

  /* Prepare it to run `entry`, which never returns, when it is switched to. */
  UNWATCHED void start(void (*entry)()) {
    if (stack_ == nullptr) allocate();
    IF_ASAN(if (!ended_) __asan_unpoison_memory_region(stack_, size_);)  // a failed launch left stack frames
    ended_ = false;
    fake_ = nullptr;
#if defined(__x86_64__)
    void** top = reinterpret_cast<void**>(stack_ + size_);
    *--top = nullptr;  // where entry would return to
    *--top = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; i++) *--top = nullptr;
    sp_ = top;
#else
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack_;
    context_.uc_stack.ss_size = size_;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
#endif
  }

  /* Run `to` until another fiber switches back. A fiber that has `ended` must be started again first. */
  UNWATCHED __attribute__((noinline)) void switchTo(Fiber& to, bool ended = false) {
    ended_ = ended;
    IF_ASAN(__sanitizer_start_switch_fiber(ended ? nullptr : &fake_, to.stack_, to.size_);)
#if defined(__x86_64__)
    emulatorSwap(&sp_, to.sp_);
#else
    swapcontext(&context_, &to.context_);
#endif
    arrive();
  }
  /* Must be called first in `entry`. */
  UNWATCHED void arrive() { IF_ASAN(__sanitizer_finish_switch_fiber(fake_, nullptr, nullptr);) }

  /* Is this on its stack? */
  UNWATCHED bool holds(const void* address) const {
    return static_cast<size_t>(static_cast<const char*>(address) - stack_) < size_;
  }

 private:
  void allocate() {
    constexpr size_t kGuard = 4096;  // below the stack, so that an overflow crashes
    void* memory =
        mmap(nullptr, kStack + kGuard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, kGuard, PROT_NONE) != 0) throw std::bad_alloc();
    stack_ = static_cast<char*>(memory) + kGuard;
    size_ = kStack;
  }

#if defined(__x86_64__)
  void* sp_ = nullptr;
#else
  ucontext_t context_;
#endif
  char* stack_ = nullptr;
  size_t size_ = 0;
  bool ended_ = true;     // nothing is on its stack
  void* fake_ = nullptr;  // AddressSanitizer's other stack
};

}  // namespace emulator

#endif
