/* The JavaScript class Model: a Transformer, which its contexts keep alive. */
#ifndef LLAMA2_CUDA_ADDON_MODEL_H
#define LLAMA2_CUDA_ADDON_MODEL_H

#include <napi.h>

#include <memory>

#include "../model.h"

/* { precision, groupSize, kvPrecision, sharedClassifier, device } */
llama2::cuda::Options optionsOf(const Napi::Value& value);

class Model : public Napi::ObjectWrap<Model> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit Model(const Napi::CallbackInfo& info);

  /* Throws BadArgument if `value` is not a Model. */
  static const Model& from(const Napi::Value& value);

  /* Throws BadArgument once it is disposed. */
  std::shared_ptr<llama2::cuda::Transformer> transformer() const;

 private:
  Napi::Value fill(const Napi::CallbackInfo& info);
  Napi::Value fillQuantized(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::shared_ptr<llama2::cuda::Transformer> transformer_;
  int groupSize_ = 0;  // of what fillQuantized gets
};

#endif
