/*
 * The native addon: JavaScript bindings for native/cpu. This folder is glue only: arguments, errors, lifetimes.
 *
 *   model.h, model.cpp      the class Model: weights and threads
 *   context.h, context.cpp  the class Context: sequences being read
 *   arguments.h             what JavaScript passes
 *   guard.h                 how C++ exceptions become JavaScript ones
 *
 * It keeps no global state, so each worker thread can load it. While a thread is being terminated, calls may still come
 * in although every call of Node-API fails and returns an empty value. The only caller is src/backend/cpu/cpu.ts, which
 * documents the arguments; a wrong argument is a bug there, and causes a TypeError or RangeError, not a crash.
 */
#include <napi.h>

#include "arguments.h"
#include "context.h"
#include "isa.h"
#include "model.h"
#include "sweep.h"

namespace {

/* isas(): string[] - the instruction sets that can be chosen on this machine, the best last. */
Napi::Value isas(const Napi::CallbackInfo& info) {
  const auto supported = llama2::supportedKernels();
  Napi::Array names = Napi::Array::New(info.Env(), supported.size());
  for (uint32_t i = 0; i < supported.size(); i++) names.Set(i, supported[i]->name);
  return names;
}

/* estimateMemory(config, sharedClassifier, groupSizes, threads): { weights, perSequence, scratch } in bytes */
Napi::Value estimateMemory(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    if (info.Length() != 4) throw BadArgument{"estimateMemory"};
    const int threads = whole(info[3], "threads", 1, 1024);
    const auto needs = llama2::estimateMemory(configOf(info[0]), truth(info[1]), groupSizesOf(info[2]), threads);
    Napi::Object bytes = Napi::Object::New(info.Env());
    bytes.Set("weights", static_cast<double>(needs.weights));
    bytes.Set("perSequence", static_cast<double>(needs.perSequence));
    bytes.Set("scratch", static_cast<double>(needs.scratch));
    return bytes;
  });
}

/* readBandwidth(bytes, threads, seconds): bytes a second that `threads` threads read of `bytes` of memory */
Napi::Value readBandwidth(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    if (info.Length() != 3) throw BadArgument{"readBandwidth"};
    const int bytes = whole(info[0], "bytes", 1 << 10, 1 << 30);
    const int threads = whole(info[1], "threads", 1, 1024);
    const double seconds = number(info[2]);
    return Napi::Number::New(info.Env(), llama2::readBandwidth(*llama2::chooseKernels(""), bytes, threads, seconds));
  });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("isas", Napi::Function::New(env, isas, "isas"));
  exports.Set("estimateMemory", Napi::Function::New(env, estimateMemory, "estimateMemory"));
  exports.Set("readBandwidth", Napi::Function::New(env, readBandwidth, "readBandwidth"));
  exports.Set("Model", Model::define(env));
  exports.Set("Context", Context::define(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(llama2_cpu, init)
