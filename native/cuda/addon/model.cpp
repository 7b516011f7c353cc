#include "model.h"

#include "arguments.h"

namespace {

/* Marks Model objects: unwrapping anything else would read foreign memory. */
constexpr napi_type_tag kModelTag = {0x6c6c616d6132, 0x43756461};

/* Weights per scale, in the source or on the device; 0 if neither is int8. */
int groupSizeOf(const Napi::Value& options) {
  // beyond it the integer sum of a group could overflow int32
  return whole(options.As<Napi::Object>().Get("groupSize"), "groupSize", 0, 1 << 16);
}

}  // namespace

llama2::cuda::Options optionsOf(const Napi::Value& value) {
  if (!value.IsObject()) throw BadArgument{"options"};
  const auto object = value.As<Napi::Object>();
  const std::string precision = text(object.Get("precision"));
  const std::string kvPrecision = text(object.Get("kvPrecision"));
  using llama2::cuda::KvPrecision;
  using llama2::cuda::Precision;
  llama2::cuda::Options o;
  o.precision = precision == "int8" ? Precision::kInt8 : precision == "fp16" ? Precision::kFp16 : Precision::kFp32;
  const int groupSize = groupSizeOf(value);
  if (o.precision == Precision::kInt8 && groupSize == 0) throw BadArgument{"groupSize"};
  o.groupSize = o.precision == Precision::kInt8 ? groupSize : 0;
  o.kvPrecision = kvPrecision == "fp16" ? KvPrecision::kFp16 : KvPrecision::kFp32;
  o.sharedClassifier = truth(object.Get("sharedClassifier"));
  o.device = whole(object.Get("device"), "device", 0, 0x7fffffff);
  return o;
}

Napi::Function Model::define(Napi::Env env) {
  return DefineClass(env, "Model",
                     {InstanceMethod<&Model::fill>("fill"), InstanceMethod<&Model::fillQuantized>("fillQuantized"),
                      InstanceMethod<&Model::dispose>("dispose")});
}

/* new Model(config, options, frequencies) */
Model::Model(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Model>(info) {
  info.This().As<Napi::Object>().TypeTag(&kModelTag);
  transformer_ = guarded<std::shared_ptr<llama2::cuda::Transformer>>(info.Env(), [&] {
    if (info.Length() != 3) throw BadArgument{"new Model"};
    const auto config = configOf(info[0]);
    const float* frequencies = floats(info[2], config.headSize() / 2).data;
    const llama2::cuda::Options options = optionsOf(info[1]);
    groupSize_ = groupSizeOf(info[1]);
    return std::make_shared<llama2::cuda::Transformer>(config, options, frequencies);
  });
}

const Model& Model::from(const Napi::Value& value) {
  const bool isModel = value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&kModelTag);
  const Model* model = isModel ? Unwrap(value.As<Napi::Object>()) : nullptr;
  if (model == nullptr) throw BadArgument{"expected a Model"};
  return *model;
}

std::shared_ptr<llama2::cuda::Transformer> Model::transformer() const {
  if (!transformer_) throw BadArgument{"this model has been disposed"};
  return transformer_;
}

/* fill(name, layer, values: Float32Array, offset): void */
Napi::Value Model::fill(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    const std::string name = text(info[0]);
    const int layer = whole(info[1], "layer", 0, 0x7fffffff);
    const auto [values, count] = floats(info[2], 0);
    if (!transformer()->fill(name, layer, values, count, offsetOf(info[3]))) throw BadArgument{"fill"};
    return info.Env().Undefined();
  });
}

/* fillQuantized(name, layer, values: Int8Array, scales: Float32Array, offset): void */
Napi::Value Model::fillQuantized(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    const std::string name = text(info[0]);
    const int layer = whole(info[1], "layer", 0, 0x7fffffff);
    if (groupSize_ == 0) throw BadArgument{"this model's weights are not int8"};
    const auto [values, count] = elements<int8_t>(info[2], napi_int8_array, 0);
    const float* scales = floats(info[3], count / groupSize_).data;
    const bool fits = transformer()->fillQuantized(name, layer, values, scales, groupSize_, count, offsetOf(info[4]));
    if (!fits) throw BadArgument{"fillQuantized"};
    return info.Env().Undefined();
  });
}

/* dispose(): void - free the weights, once no context needs them. May be called twice. */
Napi::Value Model::dispose(const Napi::CallbackInfo& info) {
  transformer_.reset();
  return info.Env().Undefined();
}
