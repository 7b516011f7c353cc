/* The device's memory, for plain C++. */
#ifndef LLAMA2_CHECK_HOLD_H
#define LLAMA2_CHECK_HOLD_H

#include <stddef.h>

namespace llama2::check {

/* Bytes that can be had on the device. */
size_t freeBytes();

/* Keeps so many bytes of the device from others. */
class Hold {
 public:
  explicit Hold(size_t bytes);
  ~Hold();
  Hold(const Hold&) = delete;

 private:
  void* memory_ = nullptr;
};

}  // namespace llama2::check

#endif
