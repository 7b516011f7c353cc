#include "context.h"

#include "guard.h"
#include "model.h"

namespace {

/* The memory of a typed array, valid until the call returns. */
template <typename T>
T* elements(const Napi::Value& value, napi_typedarray_type type, size_t size) {
  if (!value.IsTypedArray()) throw BadArgument{"expected a typed array"};
  const auto array = value.As<Napi::TypedArray>();
  if (array.TypedArrayType() != type) throw BadArgument{"a typed array of another type"};
  if (array.ElementLength() < size) throw BadArgument{"a typed array is too short"};
  return array.As<Napi::TypedArrayOf<T>>().Data();
}

double number(const Napi::Value& value) {
  if (!value.IsNumber()) throw BadArgument{"expected a number"};
  return value.As<Napi::Number>().DoubleValue();
}

}  // namespace

Napi::Function Context::define(Napi::Env env) {
  return DefineClass(env, "Context",
                     {InstanceMethod<&Context::forward>("forward"), InstanceMethod<&Context::sample>("sample"),
                      InstanceMethod<&Context::dispose>("dispose")});
}

/* new Context(model, sequences) */
Context::Context(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Context>(info) {
  parts_ = guarded<std::unique_ptr<Parts>>(info.Env(), [&] {
    if (info.Length() != 2) throw BadArgument{"new Context"};
    const auto transformer = Model::from(info[0]).transformer();
    const double sequences = number(info[1]);
    if (!(sequences >= 1 && sequences <= 1 << 20)) throw BadArgument{"sequences"};
    return std::unique_ptr<Parts>(new Parts{transformer, {*transformer, static_cast<int>(sequences)}});
  });
}

Context::Parts& Context::parts() const {
  if (!parts_) throw BadArgument{"this context has been disposed"};
  return *parts_;
}

/*
 * forward(entries: Int32Array of (count, 3), count, wanted, logits: Float32Array): void
 *
 * An entry is token, position, sequence. The logits of the last `wanted`, (wanted, vocabSize), are written to memory of
 * JavaScript's.
 */
Napi::Value Context::forward(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    if (info.Length() != 4) throw BadArgument{"forward"};
    const Parts& own = parts();
    const llama2::Config& p = own.transformer->config();
    const double count = number(info[1]);
    if (!(count >= 1 && count <= own.transformer->maxBatch())) throw BadArgument{"the size of a batch"};
    const int entries = static_cast<int>(count);
    const int wanted = static_cast<int>(number(info[2]));
    if (wanted < 0 || wanted > entries) throw BadArgument{"how many logits are wanted"};

    const auto* numbers = elements<int32_t>(info[0], napi_int32_array, size_t{3} * entries);
    float* logits = elements<float>(info[3], napi_float32_array, static_cast<size_t>(wanted) * p.vocabSize);
    const auto* batch = reinterpret_cast<const llama2::Entry*>(numbers);
    for (int e = 0; e < entries; e++) {
      const auto [token, pos, sequence] = batch[e];
      if (token < 0 || token >= p.vocabSize) throw BadArgument{"a token that is none"};
      if (pos < 0 || pos >= p.seqLen) throw BadArgument{"a position outside the context"};
      if (sequence < 0 || sequence >= own.context.sequences()) throw BadArgument{"a sequence that is none"};
    }
    own.transformer->forward(parts_->context, batch, entries, wanted, logits);
    return info.Env().Undefined();
  });
}

/*
 * sample(logits: Float32Array of (count, vocabSize), draws: Float32Array of (count, 3), count, tokens: Int32Array):
 * void
 *
 * A draw is temperature, top-p, coin. The tokens, (count), are written to memory of JavaScript's.
 */
Napi::Value Context::sample(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    if (info.Length() != 4) throw BadArgument{"sample"};
    const Parts& own = parts();
    const double count = number(info[2]);
    if (!(count >= 0 && count <= own.transformer->maxBatch())) throw BadArgument{"the size of a batch"};
    const auto rows = static_cast<size_t>(count);
    float* logits = elements<float>(info[0], napi_float32_array, rows * own.transformer->config().vocabSize);
    const auto* draws = reinterpret_cast<const llama2::Draw*>(elements<float>(info[1], napi_float32_array, 3 * rows));
    auto* tokens = elements<int32_t>(info[3], napi_int32_array, rows);
    own.transformer->sample(parts_->context, logits, draws, static_cast<int>(rows), tokens);
    return info.Env().Undefined();
  });
}

/* dispose(): void - free the caches. May be called twice. */
Napi::Value Context::dispose(const Napi::CallbackInfo& info) {
  parts_.reset();
  return info.Env().Undefined();
}
