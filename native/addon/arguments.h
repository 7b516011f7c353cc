/* Arguments from JavaScript, checked. What is wrong is a BadArgument: see guard.h. */
#ifndef LLAMA2_ADDON_ARGUMENTS_H
#define LLAMA2_ADDON_ARGUMENTS_H

#include <napi.h>

#include "guard.h"

/* A typed array with at least so many elements. */
template <typename Array>
Array typed(const Napi::Value& value, napi_typedarray_type type, size_t size) {
  if (!value.IsTypedArray()) throw BadArgument{"expected a typed array"};
  const auto array = value.As<Napi::TypedArray>();
  if (array.TypedArrayType() != type) throw BadArgument{"a typed array of another type"};
  if (array.ElementLength() < size) throw BadArgument{"a typed array is too short"};
  return array.As<Array>();
}

inline Napi::Float32Array floats(const Napi::Value& value, size_t size) {
  return typed<Napi::Float32Array>(value, napi_float32_array, size);
}

inline Napi::Int32Array integers(const Napi::Value& value, size_t size) {
  return typed<Napi::Int32Array>(value, napi_int32_array, size);
}

inline double number(const Napi::Value& value) {
  if (!value.IsNumber()) throw BadArgument{"expected a number"};
  return value.As<Napi::Number>().DoubleValue();
}

/* A whole number from `least` to `most`, or BadArgument{name}. */
inline int whole(const Napi::Value& value, int least, int most, const char* name) {
  const double n = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : least - 1.0;
  if (!(n >= least && n <= most)) throw BadArgument{name};
  return static_cast<int>(n);
}

inline int positive(const Napi::Object& object, const char* name) {
  return whole(object.Get(name), 1, 0x7fffffff, name);
}

/* The architecture: Config of src/llama2/transformer.ts. */
template <typename Config>
Config configOf(const Napi::Value& value) {
  if (!value.IsObject()) throw BadArgument{"config"};
  const auto object = value.As<Napi::Object>();
  Config p;
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

/* Whole groups of int8 numbers and their scales, as `fillQuantized` gets them. */
struct Quantized {
  const int8_t* values;
  const float* scales;
  size_t count;

  Quantized(const Napi::Value& numbers, const Napi::Value& factors, int groupSize) {
    const auto array = typed<Napi::Int8Array>(numbers, napi_int8_array, 0);
    values = array.Data();
    count = array.ElementLength();
    scales = floats(factors, count / groupSize).Data();
  }
};

#endif
