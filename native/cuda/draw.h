/* What the device keeps of a sequence in addition to its entry. */
#ifndef LLAMA2_CUDA_DRAW_H
#define LLAMA2_CUDA_DRAW_H

#include <stdint.h>

namespace llama2::cuda {

/* How a sequence chooses its next token, and whether it has ended. */
struct Draw {
  float temperature;
  float topp;
  uint64_t rngState;
  int32_t stop;
  int32_t ended;  // 0: no; 1: stop token; 2: end of the context; 3: its logits are not finite
};

}  // namespace llama2::cuda

#endif
