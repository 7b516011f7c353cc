/* The JavaScript class Context: sequences being read, and the model they keep alive. */
#ifndef LLAMA2_ADDON_CONTEXT_H
#define LLAMA2_ADDON_CONTEXT_H

#include <napi.h>

#include <memory>

#include "transformer.h"

class Context : public Napi::ObjectWrap<Context> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit Context(const Napi::CallbackInfo& info);

 private:
  /* What dispose() frees. */
  struct Parts {
    std::shared_ptr<llama2::Transformer> transformer;
    llama2::Context context;
  };

  /* Throws BadArgument once it is disposed. */
  Parts& parts() const;

  Napi::Value forward(const Napi::CallbackInfo& info);
  Napi::Value sample(const Napi::CallbackInfo& info);
  Napi::Value decode(const Napi::CallbackInfo& info);
  Napi::Value trace(const Napi::CallbackInfo& info);
  Napi::Value copy(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::unique_ptr<Parts> parts_;
};

#endif
