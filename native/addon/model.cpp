#include "model.h"

#include "arguments.h"
#include "isa.h"

namespace {

/* Marks the objects that are Models, since unwrapping any other would read memory that is not one. */
constexpr napi_type_tag kModelTag = {0x6c6c616d6132, 0x4d6f64656c};

}  // namespace

Napi::Function Model::define(Napi::Env env) {
  return DefineClass(env, "Model",
                     {InstanceMethod<&Model::fill>("fill"), InstanceMethod<&Model::fillQuantized>("fillQuantized"),
                      InstanceAccessor<&Model::maxBatch>("maxBatch"), InstanceMethod<&Model::dispose>("dispose")});
}

/* new Model(config, sharedClassifier, groupSize, fcr, fci, isa, threads) */
Model::Model(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Model>(info) {
  Value().TypeTag(&kModelTag);
  transformer_ = guarded<std::shared_ptr<llama2::Transformer>>(info.Env(), [&] {
    if (info.Length() != 7 || !info[0].IsObject() || !info[2].IsNumber() || !info[6].IsNumber()) {
      throw BadArgument{"new Model"};
    }
    const auto config = configOf<llama2::Config>(info[0]);
    const bool sharedClassifier = info[1].ToBoolean();
    const int groupSize = info[2].As<Napi::Number>().Int32Value();
    // beyond it the whole sums of a group could leave int32
    if (groupSize < 0 || groupSize > 1 << 16) throw BadArgument{"groupSize"};
    const size_t angles = static_cast<size_t>(config.seqLen) * (config.headSize() / 2);
    const Napi::Float32Array fcr = floats(info[3], angles);
    const Napi::Float32Array fci = floats(info[4], angles);
    const llama2::Kernels* kernels = llama2::chooseKernels(info[5].ToString());
    if (kernels == nullptr) throw BadArgument{"isa"};
    const int threads = info[6].As<Napi::Number>().Int32Value();
    if (threads < 1 || threads > 1024) throw BadArgument{"threads"};
    return std::make_shared<llama2::Transformer>(config, sharedClassifier, groupSize, fcr.Data(), fci.Data(), *kernels,
                                                 threads);
  });
}

const Model& Model::from(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kModelTag)) throw BadArgument{"expected a Model"};
  return *Unwrap(value.As<Napi::Object>());
}

std::shared_ptr<llama2::Transformer> Model::transformer() const {
  if (!transformer_) throw BadArgument{"this model has been disposed"};
  return transformer_;
}

/* fill(name, layer, values: Float32Array, offset): void */
Napi::Value Model::fill(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    if (info.Length() != 4 || !info[1].IsNumber() || !info[3].IsNumber()) throw BadArgument{"fill"};
    const std::string name = info[0].ToString();
    const int layer = info[1].As<Napi::Number>().Int32Value();
    const Napi::Float32Array values = floats(info[2], 0);
    const auto offset = static_cast<size_t>(info[3].As<Napi::Number>().Int64Value());
    if (!transformer()->fill(name, layer, values.Data(), values.ElementLength(), offset)) throw BadArgument{"fill"};
    return info.Env().Undefined();
  });
}

/* fillQuantized(name, layer, values: Int8Array, scales: Float32Array, offset): void */
Napi::Value Model::fillQuantized(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    if (info.Length() != 5 || !info[1].IsNumber() || !info[4].IsNumber()) throw BadArgument{"fillQuantized"};
    const std::string name = info[0].ToString();
    const int layer = info[1].As<Napi::Number>().Int32Value();
    const auto own = transformer();
    if (own->groupSize() == 0) throw BadArgument{"this model is not int8"};
    const Quantized q(info[2], info[3], own->groupSize());
    const auto offset = static_cast<size_t>(info[4].As<Napi::Number>().Int64Value());
    if (!own->fillQuantized(name, layer, q.values, q.scales, q.count, offset)) throw BadArgument{"fillQuantized"};
    return info.Env().Undefined();
  });
}

/* maxBatch: number */
Napi::Value Model::maxBatch(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] { return Napi::Number::New(info.Env(), transformer()->maxBatch()); });
}

/* dispose(): void - free the weights, once no context needs them. May be called twice. */
Napi::Value Model::dispose(const Napi::CallbackInfo& info) {
  transformer_.reset();
  return info.Env().Undefined();
}
