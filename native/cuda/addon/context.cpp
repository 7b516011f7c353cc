#include "context.h"

#include <algorithm>

#include "arguments.h"
#include "model.h"

using llama2::Entry;
using llama2::cuda::Sequence;

namespace {

int32_t* integers(const Napi::Value& value, size_t least) {
  return elements<int32_t>(value, napi_int32_array, least).data;
}

uint64_t* states(const Napi::Value& value, size_t least) {
  return elements<uint64_t>(value, napi_biguint64_array, least).data;
}

}  // namespace

Napi::Function Context::define(Napi::Env env) {
  return DefineClass(env, "Context",
                     {InstanceAccessor<&Context::maxBatch>("maxBatch"),
                      InstanceAccessor<&Context::maxSteps>("maxSteps"), InstanceMethod<&Context::forward>("forward"),
                      InstanceMethod<&Context::decode>("decode"), InstanceMethod<&Context::tokens>("tokens"),
                      InstanceMethod<&Context::finish>("finish"), InstanceMethod<&Context::copy>("copy"),
                      InstanceMethod<&Context::sample>("sample"), InstanceMethod<&Context::dispose>("dispose")});
}

/* new Context(model, slots) */
Context::Context(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Context>(info) {
  parts_ = guarded<std::unique_ptr<Parts>>(info.Env(), [&] {
    if (info.Length() != 2) throw BadArgument{"new Context"};
    const auto transformer = Model::from(info[0]).transformer();
    const int slots = whole(info[1], "slots", 1, 1 << 20);
    return std::unique_ptr<Parts>(new Parts{transformer, {*transformer, slots}});
  });
}

Context::Parts& Context::parts() const {
  if (!parts_) throw BadArgument{"this context has been disposed"};
  return *parts_;
}

/* maxBatch: number - the most entries of one `forward`, and sequences of one `decode` */
Napi::Value Context::maxBatch(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] { return Napi::Number::New(info.Env(), parts().context.maxBatch()); });
}

/* maxSteps: number - the most steps of one `decode` */
Napi::Value Context::maxSteps(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] { return Napi::Number::New(info.Env(), parts().context.maxSteps()); });
}

/*
 * forward(entries: Int32Array of (count, 3), count, wanted, logits: Float32Array): void
 *
 * An entry is token, position, sequence. Writes the logits of the last `wanted` entries, (wanted, vocabSize).
 */
Napi::Value Context::forward(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    Parts& own = parts();
    const int count = whole(info[1], "the size of a batch", 1, own.context.maxBatch());
    const int wanted = whole(info[2], "how many logits are wanted", 0, count);
    const int32_t* entries = integers(info[0], size_t{3} * count);
    float* logits = floats(info[3], static_cast<size_t>(wanted) * own.transformer->config().vocabSize).data;
    own.context.forward(reinterpret_cast<const Entry*>(entries), count, wanted, logits);
    return info.Env().Undefined();
  });
}

/*
 * decode(entries: Int32Array of (count, 4), choices: Float32Array of (count, 2), states: BigUint64Array of (count),
 *        count, steps): void
 *
 * An entry is token, position, sequence, and the token that ends the sequence; a choice is temperature and top-p; a
 * state is the generator's. Starts the work without waiting for it.
 */
Napi::Value Context::decode(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    Parts& own = parts();
    const int count = whole(info[3], "the number of sequences", 1, own.context.slots());
    const int steps = whole(info[4], "the number of steps", 1, own.context.maxSteps());
    const int32_t* entries = integers(info[0], size_t{4} * count);
    const float* choices = floats(info[1], size_t{2} * count).data;
    const uint64_t* rngStates = states(info[2], count);
    std::vector<Sequence> sequences;
    for (int i = 0; i < count; i++) {
      const Entry next = {entries[4 * i], entries[4 * i + 1], entries[4 * i + 2]};
      sequences.push_back({next, choices[2 * i], choices[2 * i + 1], rngStates[i], entries[4 * i + 3]});
    }
    own.context.decode(sequences.data(), count, steps);
    own.sequences = std::move(sequences);
    return info.Env().Undefined();
  });
}

/* tokens(step, tokens: Int32Array of (count)): void - wait for a step, and write what it chose, or -1 */
Napi::Value Context::tokens(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    Parts& own = parts();
    const int step = whole(info[0], "a step", 0, own.context.maxSteps() - 1);
    int32_t* tokens = integers(info[1], own.sequences.size());
    std::copy_n(own.context.tokens(step), own.sequences.size(), tokens);
    return info.Env().Undefined();
  });
}

/* finish(states: BigUint64Array of (count)): void - wait for all steps, and write the generators' states */
Napi::Value Context::finish(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    Parts& own = parts();
    uint64_t* rngStates = states(info[0], own.sequences.size());
    own.context.finish(own.sequences.data());
    for (size_t i = 0; i < own.sequences.size(); i++) rngStates[i] = own.sequences[i].rngState;
    return info.Env().Undefined();
  });
}

/* copy(from, to, positions): void - the first positions of the KV cache of one sequence to another */
Napi::Value Context::copy(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    Parts& own = parts();
    const int last = own.context.slots() - 1;
    const int from = whole(info[0], "from", 0, last);
    const int to = whole(info[1], "to", 0, last);
    own.context.copy(from, to, whole(info[2], "positions", 0, own.transformer->config().seqLen));
    return info.Env().Undefined();
  });
}

/*
 * sample(logits: Float32Array of (rows, vocabSize), row, temperature, topp, states: BigUint64Array of (1)): number
 *
 * Chooses a token, and draws from the generator whose state is given.
 */
Napi::Value Context::sample(const Napi::CallbackInfo& info) {
  return guarded<Napi::Value>(info.Env(), [&] {
    Parts& own = parts();
    const size_t vocabSize = own.transformer->config().vocabSize;
    const size_t first = whole(info[1], "a row", 0, 1 << 20) * vocabSize;
    const float* logits = floats(info[0], first + vocabSize).data + first;
    uint64_t* state = states(info[4], 1);
    Sequence sequence = {
        {0, 0, 0}, static_cast<float>(number(info[2])), static_cast<float>(number(info[3])), state[0], -1};
    const int32_t token = own.context.sample(logits, sequence);
    state[0] = sequence.rngState;
    return Napi::Number::New(info.Env(), token);
  });
}

/* dispose(): void - wait for running work, and free the caches. May be called twice. */
Napi::Value Context::dispose(const Napi::CallbackInfo& info) {
  parts_.reset();
  return info.Env().Undefined();
}
