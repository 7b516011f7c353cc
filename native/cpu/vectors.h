/*
 * Vectors as GCC and Clang have them in all instruction sets: + - * / work lane by lane, a number beside a
 * vector counts for every lane, and a comparison gives a mask for `mask ? a : b`.
 *
 * Included by kernels_*.cpp only, each of which first says how wide its vectors are: `kLanes` floats. All names
 * are local to the file that includes this one, so that nothing compiled for a wide instruction set can end up
 * where a narrow one is expected.
 */
#ifndef LLAMA2_CPU_VECTORS_H
#define LLAMA2_CPU_VECTORS_H

#include <stdint.h>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace {

constexpr int kHalf = kLanes / 2;

typedef float Floats __attribute__((vector_size(4 * kLanes)));
// as many float64 fit into one vector as float32 into half of one
typedef float HalfFloats __attribute__((vector_size(4 * kHalf)));
typedef double Doubles __attribute__((vector_size(8 * kHalf)));
typedef uint64_t Longs __attribute__((vector_size(8 * kHalf)));

template <typename Vector>
inline Vector load(const float* from) {
  Vector v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}

template <typename Vector>
inline void store(float* to, Vector v) {
  __builtin_memcpy(to, &v, sizeof v);
}

// ----------------------------------------------------------------------------
// expf

// 2^(i/32) for i = 0..31 as bit patterns, with i taken off the bits where k/32 is added below
constexpr uint64_t kExp2[32] = {
    0x3ff0000000000000 - (0ull << 47),  0x3ff059b0d3158574 - (1ull << 47),  0x3ff0b5586cf9890f - (2ull << 47),
    0x3ff11301d0125b51 - (3ull << 47),  0x3ff172b83c7d517b - (4ull << 47),  0x3ff1d4873168b9aa - (5ull << 47),
    0x3ff2387a6e756238 - (6ull << 47),  0x3ff29e9df51fdee1 - (7ull << 47),  0x3ff306fe0a31b715 - (8ull << 47),
    0x3ff371a7373aa9cb - (9ull << 47),  0x3ff3dea64c123422 - (10ull << 47), 0x3ff44e086061892d - (11ull << 47),
    0x3ff4bfdad5362a27 - (12ull << 47), 0x3ff5342b569d4f82 - (13ull << 47), 0x3ff5ab07dd485429 - (14ull << 47),
    0x3ff6247eb03a5585 - (15ull << 47), 0x3ff6a09e667f3bcd - (16ull << 47), 0x3ff71f75e8ec5f74 - (17ull << 47),
    0x3ff7a11473eb0187 - (18ull << 47), 0x3ff82589994cce13 - (19ull << 47), 0x3ff8ace5422aa0db - (20ull << 47),
    0x3ff93737b0cdc5e5 - (21ull << 47), 0x3ff9c49182a3f090 - (22ull << 47), 0x3ffa5503b23e255d - (23ull << 47),
    0x3ffae89f995ad3ad - (24ull << 47), 0x3ffb7f76f2fb5e47 - (25ull << 47), 0x3ffc199bdd85529c - (26ull << 47),
    0x3ffcb720dcef9069 - (27ull << 47), 0x3ffd5818dcfba487 - (28ull << 47), 0x3ffdfc97337b9b5f - (29ull << 47),
    0x3ffea4afa2a490da - (30ull << 47), 0x3fff50765b6e4540 - (31ull << 47),
};

/* kExp2[k mod 32] in each lane. */
inline Longs lookUpExp2(Longs k) {
#if defined(__AVX512F__)
  const __m512i low = _mm512_permutex2var_epi64(_mm512_loadu_si512(kExp2), (__m512i)k, _mm512_loadu_si512(kExp2 + 8));
  const __m512i high =
      _mm512_permutex2var_epi64(_mm512_loadu_si512(kExp2 + 16), (__m512i)k, _mm512_loadu_si512(kExp2 + 24));
  return (Longs)_mm512_mask_blend_epi64(_mm512_test_epi64_mask((__m512i)k, _mm512_set1_epi64(16)), low, high);
#elif defined(__AVX2__)
  return (Longs)_mm256_i64gather_epi64((const long long*)kExp2, (__m256i)(k & 31), 8);
#else
  Longs found = {};
  for (int i = 0; i < kHalf; i++) found[i] = kExp2[k[i] & 31];
  return found;
#endif
}

/* math.ts: expf. e^x = 2^(z/32) = 2^(k/32) * 2^(r/32), with k whole and r in [-1/2, 1/2]. */
inline HalfFloats expf(HalfFloats x) {
  constexpr double kRound = 6755399441055744;  // 1.5 * 2^52: adding it rounds to a whole number
  const Doubles z = __builtin_convertvector(x, Doubles) * 0x1.71547652b82fep+5;
  const Doubles rounded = z + kRound;
  const Doubles r = z - (rounded - kRound);
  const Longs k = (Longs)rounded;  // its low bits
  const Doubles scale = (Doubles)(lookUpExp2(k) + (k << 47));
  const Doubles p = (0x1.c6af84b912394p-5 / 32768) * r + (0x1.ebfce50fac4f3p-3 / 1024);
  const Doubles y = (p * (r * r) + ((0x1.62e42ff0c52d6p-1 / 32) * r + 1.0)) * scale;
  const HalfFloats result = __builtin_convertvector(y, HalfFloats);
  const HalfFloats zero = {};
  const HalfFloats infinity = zero + __builtin_inff();
  const HalfFloats inRange = x < -103.97207641601562f ? zero : (x > 88.72283172607422f ? infinity : result);
  return x == x ? inRange : x;
}

/* The same for one number. */
inline float expf(float x) {
  HalfFloats v = {};
  v[0] = x;
  return expf(v)[0];
}

}  // namespace

#endif
