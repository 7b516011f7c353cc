/* The errors of native/cuda end here: what JavaScript gets are errors with the code that they name. */
#ifndef LLAMA2_CUDA_ADDON_ERRORS_H
#define LLAMA2_CUDA_ADDON_ERRORS_H

#include "../model.h"
#include "guard.h"

/* `guarded`, for work that calls native/cuda. */
template <typename T, typename Work>
T guardedCuda(Napi::Env env, Work&& work) {
  return guarded<T>(env, [&]() -> T {
    try {
      return work();
    } catch (const llama2::cuda::Error& error) {
      throw CodedError{llama2::cuda::codeName(error.code), error.what()};
    }
  });
}

#endif
