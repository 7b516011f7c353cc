/*
 * Reads the arguments of both addons. They must be as documented in src/backend/cpu/addon.ts and
 * src/backend/cuda/addon.ts, or BadArgument is thrown.
 *
 * No argument is converted (as ToString would), because that runs JavaScript, which fails while a thread is terminated.
 */
#ifndef LLAMA2_ADDON_ARGUMENTS_H
#define LLAMA2_ADDON_ARGUMENTS_H

#include <napi.h>

#include <string>

#include "../config.h"
#include "guard.h"

inline double number(const Napi::Value& value) {
  if (!value.IsNumber()) throw BadArgument{"expected a number"};
  return value.As<Napi::Number>().DoubleValue();
}

/* A whole number from `least` to `most`; `what` is its name, for the error. */
inline int whole(const Napi::Value& value, const char* what, int least, int most) {
  const double found = value.IsNumber() ? number(value) : least - 1.0;
  if (!(found >= least && found <= most)) throw BadArgument{what};
  return static_cast<int>(found);
}

inline std::string text(const Napi::Value& value) {
  if (!value.IsString()) throw BadArgument{"expected a string"};
  return value.As<Napi::String>();
}

inline bool truth(const Napi::Value& value) {
  if (!value.IsBoolean()) throw BadArgument{"expected true or false"};
  return value.As<Napi::Boolean>();
}

/* The memory of a typed array, valid until the call returns. */
template <typename T>
struct Elements {
  T* data;
  size_t count;
};

/* The elements of a typed array that must have at least `least`. */
template <typename T>
Elements<T> elements(const Napi::Value& value, napi_typedarray_type type, size_t least) {
  if (!value.IsTypedArray()) throw BadArgument{"expected a typed array"};
  const auto array = value.As<Napi::TypedArray>();
  if (array.TypedArrayType() != type) throw BadArgument{"a typed array of another type"};
  if (array.ElementLength() < least) throw BadArgument{"a typed array is too short"};
  return {array.As<Napi::TypedArrayOf<T>>().Data(), array.ElementLength()};
}

inline Elements<float> floats(const Napi::Value& value, size_t least) {
  return elements<float>(value, napi_float32_array, least);
}

inline int positive(const Napi::Object& object, const char* name) {
  return whole(object.Get(name), name, 1, 0x7fffffff);
}

inline llama2::Config configOf(const Napi::Value& value) {
  if (!value.IsObject()) throw BadArgument{"config"};
  const auto object = value.As<Napi::Object>();
  llama2::Config p;
  p.dim = positive(object, "dim");
  p.hiddenDim = positive(object, "hiddenDim");
  p.nLayers = positive(object, "nLayers");
  p.nHeads = positive(object, "nHeads");
  p.nKvHeads = positive(object, "nKvHeads");
  p.vocabSize = positive(object, "vocabSize");
  p.seqLen = positive(object, "seqLen");
  p.normEps = static_cast<float>(number(object.Get("normEps")));
  if (p.dim % p.nHeads != 0 || p.nHeads % p.nKvHeads != 0 || p.headSize() % 2 != 0) throw BadArgument{"config"};
  return p;
}

/* The offset of a tensor's next numbers. */
inline size_t offsetOf(const Napi::Value& value) {
  const double offset = number(value);
  if (!(offset >= 0 && offset <= 9007199254740991.0)) throw BadArgument{"offset"};
  return static_cast<size_t>(offset);
}

#endif
