#include "model.h"

#include "arguments.h"
#include "isa.h"

namespace {

/* Marks Model objects: unwrapping anything else would read foreign memory. */
constexpr napi_type_tag kModelTag = {0x6c6c616d6132, 0x4d6f64656c};

}  // namespace

Napi::Function Model::define(Napi::Env env) {
  return DefineClass(env, "Model",
                     {InstanceMethod<&Model::fill>("fill"), InstanceMethod<&Model::fillQuantized>("fillQuantized"),
                      InstanceAccessor<&Model::maxBatch>("maxBatch"), InstanceMethod<&Model::dispose>("dispose")});
}

llama2::GroupSizes groupSizesOf(const Napi::Value& value) {
  if (!value.IsObject()) throw BadArgument{"groupSizes"};
  const auto object = value.As<Napi::Object>();
  // beyond it the integer sum of a group could overflow int32
  const auto size = [&](const char* name) { return whole(object.Get(name), name, 0, 1 << 16); };
  return {size("tokenEmbeddingTable"),
          size("wq"),
          size("wk"),
          size("wv"),
          size("wo"),
          size("w1"),
          size("w2"),
          size("w3"),
          size("wcls")};
}

/* new Model(config, sharedClassifier, groupSizes, frequencies, isa, threads) */
Model::Model(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Model>(info) {
  info.This().As<Napi::Object>().TypeTag(&kModelTag);
  transformer_ = guarded<std::shared_ptr<llama2::Transformer>>(info.Env(), [&] {
    if (info.Length() != 6) throw BadArgument{"new Model"};
    const auto config = configOf(info[0]);
    const bool sharedClassifier = truth(info[1]);
    const llama2::GroupSizes groupSizes = groupSizesOf(info[2]);
    const float* frequencies = floats(info[3], config.headSize() / 2).data;
    const llama2::Kernels* kernels = llama2::chooseKernels(text(info[4]));
    if (kernels == nullptr) throw BadArgument{"isa"};
    const int threads = whole(info[5], "threads", 1, 1024);
    return std::make_shared<llama2::Transformer>(config, sharedClassifier, groupSizes, frequencies, *kernels, threads);
  });
}

const Model& Model::from(const Napi::Value& value) {
  const bool isModel = value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&kModelTag);
  const Model* model = isModel ? Unwrap(value.As<Napi::Object>()) : nullptr;
  if (model == nullptr) throw BadArgument{"expected a Model"};
  return *model;
}

std::shared_ptr<llama2::Transformer> Model::transformer() const {
  if (!transformer_) throw BadArgument{"this model has been disposed"};
  return transformer_;
}

/* fill(name, layer, values: Float32Array, offset): void */
Napi::Value Model::fill(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    if (info.Length() != 4) throw BadArgument{"fill"};
    const int layer = whole(info[1], "layer", 0, 0x7fffffff);
    const auto [values, count] = floats(info[2], 0);
    if (!transformer()->fill(text(info[0]), layer, values, count, offsetOf(info[3]))) throw BadArgument{"fill"};
    return info.Env().Undefined();
  });
}

/* fillQuantized(name, layer, values: Int8Array, scales: Float32Array, offset): void */
Napi::Value Model::fillQuantized(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    if (info.Length() != 5) throw BadArgument{"fillQuantized"};
    const int layer = whole(info[1], "layer", 0, 0x7fffffff);
    const auto [values, count] = elements<int8_t>(info[2], napi_int8_array, 0);
    const auto own = transformer();
    const std::string name = text(info[0]);
    const int groupSize = own->groupSizeOf(name);
    if (groupSize == 0) throw BadArgument{"this matrix is not int8"};
    const float* scales = floats(info[3], count / groupSize).data;
    if (!own->fillQuantized(name, layer, values, scales, count, offsetOf(info[4]))) {
      throw BadArgument{"fillQuantized"};
    }
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
