/* What the device keeps of a sequence beside its entry. */
#ifndef LLAMA2_CUDA_DRAW_H
#define LLAMA2_CUDA_DRAW_H

#include <stdint.h>

namespace llama2::cuda {

/* How a sequence chooses, and where it is. */
struct Draw {
  float temperature;
  float topp;
  uint64_t rngState;
  int32_t stop;
  int32_t ended;  // 1: after its stop token; 2: at the end of the context; 3: its logits are not finite
};

}  // namespace llama2::cuda

#endif
