/* The functions that kernels call: CUDA's own, and those of gpu.h. */
#ifndef LLAMA2_EMULATOR_DEVICE_H
#define LLAMA2_EMULATOR_DEVICE_H

#include <math.h>

#include "grid.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __launch_bounds__(...)
#define NOT_INLINED __attribute__((noinline))
#define __forceinline__ inline __attribute__((always_inline))

namespace emulator {
UNWATCHED inline uint3 threadIndex() { return Grid::current->index; }
UNWATCHED inline uint3 blockIndex() { return Grid::current->block->index; }
UNWATCHED inline dim3 blockSize() { return Grid::get().blockDim; }
UNWATCHED inline dim3 gridSize() { return Grid::get().gridDim; }
}  // namespace emulator
#define threadIdx (emulator::threadIndex())
#define blockIdx (emulator::blockIndex())
#define blockDim (emulator::blockSize())
#define gridDim (emulator::gridSize())

struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

inline void __syncthreads(HERE) { emulator::Grid::get().barrier(here); }
inline void __threadfence_system() {}

inline int atomicAdd(int* counter, int value) { return __atomic_fetch_add(counter, value, __ATOMIC_RELAXED); }

template <class To, class From>
inline To bitsAs(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
inline float __uint_as_float(unsigned bits) { return bitsAs<float>(bits); }
inline unsigned __float_as_uint(float value) { return bitsAs<unsigned>(value); }
inline double __longlong_as_double(long long bits) { return bitsAs<double>(bits); }
inline long long __double_as_longlong(double value) { return bitsAs<long long>(value); }

/* The dot product of four int8 each, plus c. */
inline int __dp4a(int a, int b, int c) {
  for (int i = 0; i < 4; i++) c += static_cast<int8_t>(a >> 8 * i) * static_cast<int8_t>(b >> 8 * i);
  return c;
}

/* fp16, as the bits of IEEE's binary16. */
struct __half {
  uint16_t bits;
};
inline float __half2float(__half h) {
  const unsigned sign = (h.bits & 0x8000u) << 16;
  const unsigned exponent = h.bits >> 10 & 31;
  const unsigned mantissa = h.bits & 1023;
  if (exponent == 0) return __uint_as_float(sign | __float_as_uint(static_cast<float>(mantissa) * 0x1p-24f));
  return __uint_as_float(sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | mantissa << 13);
}
/* To the nearest, ties to even. */
inline __half __float2half_rn(float value) {
  const unsigned sign = __float_as_uint(value) >> 16 & 0x8000;
  const unsigned x = __float_as_uint(value) & 0x7fffffff;
  const auto half = [](unsigned bits) { return __half{static_cast<uint16_t>(bits)}; };
  if (x > 0x7f800000) return half(0x7fff);          // NaN
  if (x >= 0x477ff000) return half(sign | 0x7c00);  // too large
  if (x < 0x38800000) {                             // subnormal: let a float addition round
    return half(sign | (__float_as_uint(__uint_as_float(x) + 0.5f) - 0x3f000000));
  }
  return half(sign | (x + 0xfff + (x >> 13 & 1) - 0x38000000) >> 13);
}

#define SHARED(T, name, dims)              \
  static const char name##Declaration = 0; \
  using name##Type = T dims;               \
  name##Type& name =                       \
      *static_cast<name##Type*>(emulator::Grid::get().sharedArray(&name##Declaration, sizeof(name##Type)))

namespace llama2::cuda {

using ::fmaf;

inline unsigned char* sharedMemory() {
  return reinterpret_cast<unsigned char*>(emulator::Grid::get().current->block->dynamic.get());
}

template <class T>
inline T shuffleXor(T value, int mask, HERE) {
  uint64_t offered = 0;
  memcpy(&offered, &value, sizeof value);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const uint64_t other = emulator::Grid::get().exchange(offered, lane ^ mask, here);
  memcpy(&value, &other, sizeof value);
  return value;
}

/* Kernels run one after another, so there is nothing to wait for; the emulator checks that each thread does wait. */
UNWATCHED inline void waitForPreviousKernel() { emulator::Grid::current->waited = true; }
inline void letNextKernelStart() {}

}  // namespace llama2::cuda

#endif
