#include "context.h"

#include "arguments.h"
#include "model.h"

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
    return std::unique_ptr<Parts>(new Parts{transformer,
                                            {*transformer, static_cast<int>(sequences)},
                                            {transformer->kernels(), transformer->config().vocabSize}});
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

    const auto numbers = integers(info[0], size_t{3} * entries);
    auto logits = floats(info[3], static_cast<size_t>(wanted) * p.vocabSize);
    const auto* batch = reinterpret_cast<const llama2::Entry*>(numbers.Data());
    for (int e = 0; e < entries; e++) {
      const auto [token, pos, sequence] = batch[e];
      if (token < 0 || token >= p.vocabSize) throw BadArgument{"a token that is none"};
      if (pos < 0 || pos >= p.seqLen) throw BadArgument{"a position outside the context"};
      if (sequence < 0 || sequence >= own.context.sequences()) throw BadArgument{"a sequence that is none"};
    }
    own.transformer->forward(parts_->context, batch, entries, wanted, logits.Data());
    return info.Env().Undefined();
  });
}

/* sample(logits: Float32Array of (rows, vocabSize), row, temperature, topp, coin): number */
Napi::Value Context::sample(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    if (info.Length() != 5) throw BadArgument{"sample"};
    Parts& own = parts();
    const int vocabSize = own.transformer->config().vocabSize;
    const double row = number(info[1]);
    if (!(row >= 0 && row < own.transformer->maxBatch())) throw BadArgument{"a row that is none"};
    const size_t first = static_cast<size_t>(row) * vocabSize;
    float* logits = floats(info[0], first + vocabSize).Data() + first;
    const auto temperature = static_cast<float>(number(info[2]));
    const auto topp = static_cast<float>(number(info[3]));
    const auto coin = static_cast<float>(number(info[4]));
    return Napi::Number::New(info.Env(), own.sampler.sample(logits, temperature, topp, coin));
  });
}

/* dispose(): void - free the caches. May be called twice. */
Napi::Value Context::dispose(const Napi::CallbackInfo& info) {
  parts_.reset();
  return info.Env().Undefined();
}
