#include "context.h"

#include "arguments.h"
#include "model.h"

Napi::Function Context::define(Napi::Env env) {
  return DefineClass(env, "Context",
                     {InstanceMethod<&Context::forward>("forward"), InstanceMethod<&Context::sample>("sample"),
                      InstanceMethod<&Context::decode>("decode"), InstanceMethod<&Context::copy>("copy"),
                      InstanceMethod<&Context::trace>("trace"), InstanceMethod<&Context::dispose>("dispose")});
}

/* new Context(model, sequences) */
Context::Context(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Context>(info) {
  parts_ = guarded<std::unique_ptr<Parts>>(info.Env(), [&] {
    if (info.Length() != 2) throw BadArgument{"new Context"};
    const auto transformer = Model::from(info[0]).transformer();
    const int sequences = whole(info[1], "sequences", 1, 1 << 20);
    return std::unique_ptr<Parts>(new Parts{transformer, {*transformer, sequences}});
  });
}

Context::Parts& Context::parts() const {
  if (!parts_) throw BadArgument{"this context has been disposed"};
  return *parts_;
}

/*
 * forward(entries: Int32Array of (count, 3), count, wanted, logits: Float32Array, threads): number
 *
 * An entry is token, position, sequence. Writes the logits of the last `wanted` entries, (wanted, vocabSize). Returns
 * for how many milliseconds a thread waited for a late one.
 */
Napi::Value Context::forward(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    if (info.Length() != 5) throw BadArgument{"forward"};
    const Parts& own = parts();
    const llama2::Config& p = own.transformer->config();
    const int entries = whole(info[1], "the size of a batch", 1, own.transformer->maxBatch());
    const int wanted = whole(info[2], "how many logits are wanted", 0, entries);

    const int32_t* numbers = elements<int32_t>(info[0], napi_int32_array, size_t{3} * entries).data;
    float* logits = floats(info[3], static_cast<size_t>(wanted) * p.vocabSize).data;
    const auto* batch = reinterpret_cast<const llama2::Entry*>(numbers);
    for (int e = 0; e < entries; e++) {
      const auto [token, pos, sequence] = batch[e];
      if (token < 0 || token >= p.vocabSize) throw BadArgument{"token out of range"};
      if (pos < 0 || pos >= p.seqLen) throw BadArgument{"position out of range"};
      if (sequence < 0 || sequence >= own.context.sequences()) throw BadArgument{"sequence out of range"};
    }
    const int threads = whole(info[4], "threads", 1, own.transformer->threads());
    const double late = own.transformer->forward(parts_->context, batch, entries, wanted, logits, threads);
    return Napi::Number::New(info.Env(), late);
  });
}

/*
 * sample(logits: Float32Array of (count, vocabSize), draws: Float32Array of (count, 3), count, tokens: Int32Array,
 * threads): void
 *
 * A draw is temperature, top-p, coin. Writes the tokens, (count).
 */
Napi::Value Context::sample(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    if (info.Length() != 5) throw BadArgument{"sample"};
    const Parts& own = parts();
    const int count = whole(info[2], "the size of a batch", 0, own.transformer->maxBatch());
    const auto rows = static_cast<size_t>(count);
    float* logits = floats(info[0], rows * own.transformer->config().vocabSize).data;
    const auto* draws = reinterpret_cast<const llama2::Draw*>(floats(info[1], 3 * rows).data);
    int32_t* tokens = elements<int32_t>(info[3], napi_int32_array, rows).data;
    const int threads = whole(info[4], "threads", 1, own.transformer->threads());
    own.transformer->sample(parts_->context, logits, draws, count, tokens, threads);
    return info.Env().Undefined();
  });
}

/*
 * decode(running: Int32Array of (count, 4), choices: Float32Array of (count, 2), states: BigUint64Array, count, most,
 * milliseconds, logits: Float32Array of (count, vocabSize), tokens: Int32Array of (most, count), spent: Float64Array,
 * threads): number
 *
 * An element of `running` is token, position, sequence, stop; a choice is temperature, top-p. Returns the number of
 * steps; `spent` gets the milliseconds for which a thread waited for a late one, and those that choosing took.
 */
Napi::Value Context::decode(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    if (info.Length() != 10) throw BadArgument{"decode"};
    const Parts& own = parts();
    const llama2::Config& p = own.transformer->config();
    const int count = whole(info[3], "the size of a batch", 1, own.transformer->maxBatch());
    const int most = whole(info[4], "steps", 1, p.seqLen);
    const auto sequences = static_cast<size_t>(count);

    auto* running =
        reinterpret_cast<llama2::Running*>(elements<int32_t>(info[0], napi_int32_array, 4 * sequences).data);
    for (int e = 0; e < count; e++) {
      const auto [token, pos, sequence] = running[e].entry;
      if (token < 0 || token >= p.vocabSize) throw BadArgument{"token out of range"};
      if (pos < 0 || pos > p.seqLen - most) throw BadArgument{"position out of range"};
      if (sequence < 0 || sequence >= own.context.sequences()) throw BadArgument{"sequence out of range"};
    }
    const auto* choices = reinterpret_cast<const llama2::Choice*>(floats(info[1], 2 * sequences).data);
    uint64_t* states = elements<uint64_t>(info[2], napi_biguint64_array, sequences).data;
    const double milliseconds = number(info[5]);
    float* logits = floats(info[6], sequences * p.vocabSize).data;
    int32_t* tokens = elements<int32_t>(info[7], napi_int32_array, most * sequences).data;
    double* spent = elements<double>(info[8], napi_float64_array, 2).data;
    const int threads = whole(info[9], "threads", 1, own.transformer->threads());

    const auto decoded = own.transformer->decode(parts_->context, running, choices, states, count, most, milliseconds,
                                                 logits, tokens, threads);
    spent[0] = decoded.lateMs;
    spent[1] = decoded.sampleMs;
    return Napi::Number::New(info.Env(), decoded.steps);
  });
}

/* copy(from, to, positions): void - copy the first positions of sequence `from` to sequence `to` */
Napi::Value Context::copy(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    if (info.Length() != 3) throw BadArgument{"copy"};
    const Parts& own = parts();
    const int last = own.context.sequences() - 1;
    const int from = whole(info[0], "the sequence to copy", 0, last);
    const int to = whole(info[1], "the sequence to copy to", 0, last);
    const int positions = whole(info[2], "how many positions to copy", 0, own.transformer->config().seqLen);
    own.transformer->copy(parts_->context, from, to, positions);
    return info.Env().Undefined();
  });
}

/* trace(sequence, pos, keys, values): void - the position's keys and values, (nLayers, kvDim) each */
Napi::Value Context::trace(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    if (info.Length() != 4) throw BadArgument{"trace"};
    const Parts& own = parts();
    const llama2::Config& p = own.transformer->config();
    const int sequence = whole(info[0], "the sequence to trace", 0, own.context.sequences() - 1);
    const int pos = whole(info[1], "the position to trace", 0, p.seqLen - 1);
    const size_t size = static_cast<size_t>(p.nLayers) * p.nKvHeads * p.headSize();
    own.transformer->trace(own.context, sequence, pos, floats(info[2], size).data, floats(info[3], size).data);
    return info.Env().Undefined();
  });
}

/* dispose(): void - free the caches. May be called twice. */
Napi::Value Context::dispose(const Napi::CallbackInfo& info) {
  parts_.reset();
  return info.Env().Undefined();
}
