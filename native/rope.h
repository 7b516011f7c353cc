/*
 * Sine and cosine of RoPE's angles: `sinf` and `cosf` of src/llama2/math.ts, which are glibc's, step for step. Other C
 * libraries give other bits. This is plain double arithmetic, never fused, so every CPU and every GPU computes the same
 * bits.
 */
#ifndef LLAMA2_ROPE_H
#define LLAMA2_ROPE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__CUDACC__)
#define ON_BOTH __host__ __device__ inline
#else
#define ON_BOTH inline
#endif

namespace llama2 {

/* An angle as `quadrant` quarter turns and the rest `x`, in [-pi/4, pi/4]. */
struct Angle {
  double x;
  int quadrant;
};

/* Four bytes of 4/pi from byte `at` on, after the three zeros in front of it. */
ON_BOTH uint64_t fourOverPi(int at) {
  constexpr uint8_t kBytes[] = {0,    0,    0,    0xa2, 0xf9, 0x83, 0x6e, 0x4e, 0x44, 0x15, 0x29, 0xfc, 0x27, 0x57,
                                0xd1, 0xf5, 0x34, 0xdd, 0xc0, 0xdb, 0x62, 0x95, 0x99, 0x3c, 0x43, 0x90, 0x41};
  uint64_t word = 0;
  for (int i = 0; i < 4; i++) word = word << 8 | kBytes[at + i];
  return word;
}

/* Reduce y, which is not negative, by whole quarter turns. */
ON_BOTH Angle reduce(float y) {
  if (y < 0.75f) return {y, 0};
  if (y < 120.0f) {
    // round to the nearest quarter turn in 24-bit fixed point, as glibc does
    const int quadrant = (static_cast<int32_t>(y * 10680707.430881744) + 0x800000) >> 24;
    return {y - quadrant * 1.5707963267948966, quadrant};
  }
  // Far out, y * 2/pi needs more digits than a float64 has. Multiply y's 24 bits by those 96 bits of 4/pi which decide
  // the quadrant and the 62 bits below it; the bits above them are whole turns and are dropped.
  uint32_t bits;
  memcpy(&bits, &y, sizeof bits);
  const int exponent = static_cast<int>(bits >> 23);
  const uint64_t mantissa = static_cast<uint32_t>(((bits & 0x7fffff) | 0x800000) << (exponent & 7));
  const int from = exponent >> 3 & 15;
  const uint64_t high = mantissa * fourOverPi(from) << 32;
  const uint64_t turns = high + mantissa * fourOverPi(from + 4) + (mantissa * fourOverPi(from + 8) >> 32);
  const uint64_t quadrant = (turns + (uint64_t{1} << 61)) >> 62;
  return {static_cast<double>(static_cast<int64_t>(turns - (quadrant << 62))) * 3.4061215800865545e-19,
          static_cast<int>(quadrant)};
}

/* sin(x) for x in [-pi/4, pi/4]. */
ON_BOTH double sinQuarter(double x) {
  const double x2 = x * x;
  const double x3 = x * x2;
  const double high = 0.008332178146138854 + x2 * -0.00019517298981385725;
  return x + x3 * -0.16666654943701084 + x3 * x2 * high;
}

/* cos(x) for x in [-pi/4, pi/4]. */
ON_BOTH double cosQuarter(double x) {
  const double x2 = x * x;
  const double x4 = x2 * x2;
  const double low = 1 + x2 * -0.49999999725108224;
  const double high = -0.001388676379437604 + x2 * 2.4390450703564542e-5;
  return low + x4 * 0.041666623324344516 + x4 * x2 * high;
}

/* The cosine (ahead = 1) or sine (ahead = 0) of y, which is neither negative nor infinite. */
ON_BOTH float quarterTurns(float y, int ahead) {
  if (y < 0x1p-12f) return ahead == 1 ? 1 : y;
  const Angle angle = reduce(y);
  const int quadrant = (angle.quadrant + ahead) & 3;
  const double turned = (quadrant & 1) == 0 ? sinQuarter(angle.x) : cosQuarter(angle.x);
  return static_cast<float>(quadrant < 2 ? turned : -turned);
}

}  // namespace llama2

#endif
