/* The JavaScript class Model: a Transformer, which its contexts keep alive. */
#ifndef LLAMA2_ADDON_MODEL_H
#define LLAMA2_ADDON_MODEL_H

#include <napi.h>

#include <memory>

#include "transformer.h"

/* { tokenEmbeddingTable, wq, ... wcls }: how many numbers share a scale, or 0. Throws BadArgument. */
llama2::GroupSizes groupSizesOf(const Napi::Value& value);

class Model : public Napi::ObjectWrap<Model> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit Model(const Napi::CallbackInfo& info);

  /* Throws BadArgument if `value` is not a Model. */
  static const Model& from(const Napi::Value& value);

  /* Throws BadArgument once it is disposed. */
  std::shared_ptr<llama2::Transformer> transformer() const;

 private:
  Napi::Value fill(const Napi::CallbackInfo& info);
  Napi::Value fillQuantized(const Napi::CallbackInfo& info);
  Napi::Value maxBatch(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::shared_ptr<llama2::Transformer> transformer_;
};

#endif
