/* The device's memory, for plain C++. */
#ifndef LLAMA2_CHECK_HOLD_H
#define LLAMA2_CHECK_HOLD_H

#include <stddef.h>

#include <vector>

namespace llama2::check {

/* Free bytes on the device. */
size_t freeBytes();

/* Takes the device's memory except about this many bytes, as another program might. */
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
