/*
 * The native addon: JavaScript's door to native/cpu. This folder is glue only: arguments in, errors out, lifetimes.
 *
 *   model.h, model.cpp      the class Model: weights and threads
 *   context.h, context.cpp  the class Context: sequences being read
 *   arguments.h             what JavaScript passes
 *   guard.h                 how C++ exceptions become JavaScript ones
 *
 * It keeps nothing per process, so that each worker thread can load it. While such a thread is being ended, a call may
 * come in that can do nothing any more: every call of Node-API fails, and what it returns is empty. The one caller is
 * src/backend/cpu/cpu.ts, which says what the arguments are; a wrong one is a bug there, and is answered with a
 * TypeError or RangeError rather than with a crash.
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

/* readBandwidth(bytes, threads, seconds): bytes a second that so many threads read of so much memory */
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
