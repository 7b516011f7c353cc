/* The JavaScript class Context: live sequences, and the model that they keep alive. */
#ifndef LLAMA2_CUDA_ADDON_CONTEXT_H
#define LLAMA2_CUDA_ADDON_CONTEXT_H

#include <napi.h>

#include <memory>
#include <vector>

#include "../model.h"

class Context : public Napi::ObjectWrap<Context> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit Context(const Napi::CallbackInfo& info);

 private:
  /* What dispose() frees. */
  struct Parts {
    std::shared_ptr<llama2::cuda::Transformer> transformer;
    llama2::cuda::Context context;
    std::vector<llama2::cuda::Sequence> sequences = {};  // of the current decode()
  };

  /* Throws BadArgument once it is disposed. */
  Parts& parts() const;

  Napi::Value maxBatch(const Napi::CallbackInfo& info);
  Napi::Value maxSteps(const Napi::CallbackInfo& info);
  Napi::Value forward(const Napi::CallbackInfo& info);
  Napi::Value decode(const Napi::CallbackInfo& info);
  Napi::Value tokens(const Napi::CallbackInfo& info);
  Napi::Value finish(const Napi::CallbackInfo& info);
  Napi::Value copy(const Napi::CallbackInfo& info);
  Napi::Value sample(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::unique_ptr<Parts> parts_;
};

#endif
