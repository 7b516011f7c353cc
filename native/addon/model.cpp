#include "model.h"

#include "guard.h"
#include "isa.h"

namespace {

/* Marks the objects that are Models, since unwrapping any other would read memory that is not one. */
constexpr napi_type_tag kModelTag = {0x6c6c616d6132, 0x4d6f64656c};

int positive(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : 0;
  if (!(number >= 1 && number <= 0x7fffffff)) throw BadArgument{name};
  return static_cast<int>(number);
}

llama2::Config configOf(const Napi::Object& object) {
  llama2::Config p;
  p.dim = positive(object, "dim");
  p.hiddenDim = positive(object, "hiddenDim");
  p.nLayers = positive(object, "nLayers");
  p.nHeads = positive(object, "nHeads");
  p.nKvHeads = positive(object, "nKvHeads");
  p.vocabSize = positive(object, "vocabSize");
  p.seqLen = positive(object, "seqLen");
  p.normEps = object.Get("normEps").ToNumber().FloatValue();
  if (p.dim % p.nHeads != 0 || p.nHeads % p.nKvHeads != 0 || p.headSize() % 2 != 0) throw BadArgument{"config"};
  return p;
}

Napi::Float32Array floats(const Napi::Value& value, size_t size) {
  if (!value.IsTypedArray()) throw BadArgument{"expected a Float32Array"};
  const auto array = value.As<Napi::TypedArray>();
  if (array.TypedArrayType() != napi_float32_array) throw BadArgument{"expected a Float32Array"};
  if (array.ElementLength() < size) throw BadArgument{"a Float32Array is too short"};
  return array.As<Napi::Float32Array>();
}

}  // namespace

Napi::Function Model::define(Napi::Env env) {
  return DefineClass(env, "Model", {InstanceMethod<&Model::fill>("fill"), InstanceMethod<&Model::dispose>("dispose")});
}

/* new Model(config, sharedClassifier, fcr, fci, isa, threads) */
Model::Model(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Model>(info) {
  Value().TypeTag(&kModelTag);
  transformer_ = guarded<std::shared_ptr<llama2::Transformer>>(info.Env(), [&] {
    if (info.Length() != 6 || !info[0].IsObject() || !info[5].IsNumber()) throw BadArgument{"new Model"};
    const llama2::Config config = configOf(info[0].As<Napi::Object>());
    const bool sharedClassifier = info[1].ToBoolean();
    const size_t angles = static_cast<size_t>(config.seqLen) * (config.headSize() / 2);
    const Napi::Float32Array fcr = floats(info[2], angles);
    const Napi::Float32Array fci = floats(info[3], angles);
    const llama2::Kernels* kernels = llama2::chooseKernels(info[4].ToString());
    if (kernels == nullptr) throw BadArgument{"isa"};
    const int threads = info[5].As<Napi::Number>().Int32Value();
    if (threads < 1 || threads > 1024) throw BadArgument{"threads"};
    return std::make_shared<llama2::Transformer>(config, sharedClassifier, fcr.Data(), fci.Data(), *kernels, threads);
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

/* dispose(): void - free the weights, once no context needs them. May be called twice. */
Napi::Value Model::dispose(const Napi::CallbackInfo& info) {
  transformer_.reset();
  return info.Env().Undefined();
}
