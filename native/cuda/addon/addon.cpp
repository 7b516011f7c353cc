/*
 * The CUDA addon: JavaScript bindings for native/cuda/model.h. This folder is glue only, like native/addon, whose
 * guard.h and arguments.h it shares.
 *
 *   model.h, model.cpp      the class Model: weights on a device
 *   context.h, context.cpp  the class Context: live sequences
 *
 * It loads without a driver and without a device, and keeps no global state. Its only caller is
 * src/backend/cuda/cuda.ts, which documents the arguments.
 */
#include <napi.h>

#include "arguments.h"
#include "context.h"
#include "model.h"

namespace {

/* devices(): { name, compute, totalBytes }[] - at least one; throws and says why if there is none. */
Napi::Value devices(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    const auto all = llama2::cuda::devices();
    Napi::Array list = Napi::Array::New(info.Env(), all.size());
    for (uint32_t d = 0; d < all.size(); d++) {
      Napi::Object device = Napi::Object::New(info.Env());
      device.Set("name", all[d].name);
      device.Set("compute", std::to_string(all[d].computeMajor) + "." + std::to_string(all[d].computeMinor));
      device.Set("totalBytes", static_cast<double>(all[d].totalBytes));
      list.Set(d, device);
    }
    return list;
  });
}

/* freeMemory(device): number of bytes */
Napi::Value freeMemory(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    const int device = whole(info[0], "device", 0, 0x7fffffff);
    return Napi::Number::New(info.Env(), static_cast<double>(llama2::cuda::freeMemory(device)));
  });
}

/* estimateMemory(config, options, slots): { weights, context } in bytes, of one context */
Napi::Value estimateMemory(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    const auto config = configOf(info[0]);
    const int slots = whole(info[2], "slots", 1, 1 << 20);
    const auto memory = llama2::cuda::estimateMemory(config, optionsOf(info[1]), slots);
    Napi::Object bytes = Napi::Object::New(info.Env());
    bytes.Set("weights", static_cast<double>(memory.weights));
    bytes.Set("context", static_cast<double>(memory.context));
    return bytes;
  });
}

/* copyBandwidth(device, bytes, seconds): bytes a second */
Napi::Value copyBandwidth(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    const int device = whole(info[0], "device", 0, 0x7fffffff);
    const int bytes = whole(info[1], "bytes", 1, 0x7fffffff);
    const double seconds = number(info[2]);
    return Napi::Number::New(info.Env(), llama2::cuda::copyBandwidth(device, static_cast<size_t>(bytes), seconds));
  });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("devices", Napi::Function::New(env, devices, "devices"));
  exports.Set("freeMemory", Napi::Function::New(env, freeMemory, "freeMemory"));
  exports.Set("estimateMemory", Napi::Function::New(env, estimateMemory, "estimateMemory"));
  exports.Set("copyBandwidth", Napi::Function::New(env, copyBandwidth, "copyBandwidth"));
  exports.Set("Model", Model::define(env));
  exports.Set("Context", Context::define(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(llama2_cuda, init)
