/* The device's memory, for plain C++. */
#ifndef LLAMA2_CHECK_HOLD_H
#define LLAMA2_CHECK_HOLD_H

#include <stddef.h>

#include <vector>

namespace llama2::check {

/* Bytes that can be had on the device. */
size_t freeBytes();

/* Takes the device's memory, but for about so many bytes, as another program might have. */
class Hold {
 public:
  explicit Hold(size_t left);
  ~Hold();
  Hold(const Hold&) = delete;

 private:
  std::vector<void*> pieces_;
};

}  // namespace llama2::check

#endif
