/*
 * The int8 kernels of kernels.h, for vectors of any width. Included by kernels_*.cpp only: see vectors.h.
 *
 * It needs the constants of kernels_impl.h, and kInt8Columns: the most vectors x side by side.
 */
#ifndef LLAMA2_CPU_INT8_IMPL_H
#define LLAMA2_CPU_INT8_IMPL_H

#include "kernels_impl.h"

namespace {

using llama2::Int8Panels;
using llama2::Int8Vectors;
using llama2::MutableInt8Vectors;
using llama2::Segments;

typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef int8_t Bytes __attribute__((vector_size(kLanes)));

// ----------------------------------------------------------------------------
// matmulInt8

/*
 * addQuad: sum + w * x in each lane, four products of bytes; x is a quad of activations as storeQuads lays it out,
 * kQuadBytes long, the same for all lanes. The result is too large by kBias times the sum of x's bytes.
 */
#if defined(__AVX512VNNI__)
constexpr int kQuadBytes = 4;
constexpr int kBias = 128;  // the instruction multiplies unsigned with signed bytes: w is taken as w + 128
inline Ints addQuad(Ints sum, Ints w, const int8_t* x) {
  int32_t all;
  __builtin_memcpy(&all, x, sizeof all);
  const __m512i unsignedW = _mm512_xor_si512((__m512i)w, _mm512_set1_epi8(-128));
  return (Ints)_mm512_dpbusd_epi32((__m512i)sum, unsignedW, _mm512_set1_epi32(all));
}
#elif defined(__SSE2__)
// The even and the odd bytes as 16-bit numbers, whose products are added in pairs: x's are kept apart, w's are taken
// apart. (The instruction that multiplies bytes saturates where both are -128, which activations with a denormal scale
// can be.)
constexpr int kQuadBytes = 8;
constexpr int kBias = 0;
inline Ints addQuad(Ints sum, Ints w, const int8_t* x) {
  int32_t even, odd;
  __builtin_memcpy(&even, x, sizeof even);
  __builtin_memcpy(&odd, x + sizeof even, sizeof odd);
#if defined(__AVX2__)
  const __m256i evenW = _mm256_srai_epi16(_mm256_slli_epi16((__m256i)w, 8), 8);
  const __m256i oddW = _mm256_srai_epi16((__m256i)w, 8);
  sum += (Ints)_mm256_madd_epi16(evenW, _mm256_set1_epi32(even));
  return sum + (Ints)_mm256_madd_epi16(oddW, _mm256_set1_epi32(odd));
#else
  const __m128i evenW = _mm_srai_epi16(_mm_slli_epi16((__m128i)w, 8), 8);
  const __m128i oddW = _mm_srai_epi16((__m128i)w, 8);
  sum += (Ints)_mm_madd_epi16(evenW, _mm_set1_epi32(even));
  return sum + (Ints)_mm_madd_epi16(oddW, _mm_set1_epi32(odd));
#endif
}
#else
constexpr int kQuadBytes = 4;
constexpr int kBias = 0;
inline Ints addQuad(Ints sum, Ints w, const int8_t* x) {
  int32_t all;
  __builtin_memcpy(&all, x, sizeof all);
  // shift each byte to the top, and back down with its sign
  for (int shift = 24; shift >= 0; shift -= 8) sum += ((w << shift) >> 24) * ((int32_t)((uint32_t)all << shift) >> 24);
  return sum;
}
#endif
static_assert(kQuadBytes <= llama2::kMostQuadBytes);

/* A mask for the lanes from row `row` on: all bits are set if the row's bit in `ends` is. */
inline Ints lanesOf(unsigned ends, int row) {
  Ints lanes = {};
  for (int lane = 0; lane < kLanes; lane++) lanes[lane] = -(int)(ends >> (row + lane) & 1);
  return lanes;
}

/*
 * The processor does not prefetch past the end of a page, and an int8 panel uses up a page in less time than the next
 * one takes to arrive. So a single panel is prefetched. Measured on Zen 3: 1.25 to 1.7 times as fast from memory. On
 * Zen 4 it is 1.3 times slower, and read as one stream.
 */
template <int panels, int count, bool ahead>
inline void prefetchInt8(const int8_t* line) {
  constexpr bool slow = count * (kPanel / kLanes) >= 6;  // vectors of kLanes sums for each line
  if constexpr (!ahead) return;
  if constexpr (panels == 4) prefetch<Ahead::kNear>(line);
  if constexpr (panels == 1) __builtin_prefetch(line + (slow ? kFarLines : 64) * kLine, 0, 2);
}

/* Add one quad of some panels times some vectors. `w` and `x`: the quad in the first of them. */
template <int panels, int count, bool ahead>
inline void addQuads(Ints (&sums)[count][panels][kPanel / kLanes], const int8_t* w, size_t panelBytes, const int8_t* x,
                     size_t stride) {
  constexpr int kSlices = kPanel / kLanes;
  for (int p = 0; p < panels; p++) {
    const int8_t* line = w + p * panelBytes;
    prefetchInt8<panels, count, ahead>(line);
    Ints columns[kSlices];
    for (int s = 0; s < kSlices; s++) __builtin_memcpy(&columns[s], line + s * kLanes * 4, sizeof columns[s]);
    for (int c = 0; c < count; c++) {
      for (int s = 0; s < kSlices; s++) sums[c][p][s] = addQuad(sums[c][p][s], columns[s], x + c * stride);
    }
  }
}

/* Some panels times some vectors, as `multiply`. `straddling`: rows' sums end at segments of their own. */
template <int panels, int count, bool straddling, bool ahead>
inline void multiplyInt8(Columns<float> xout, Int8Vectors x, Int8Panels w) {
  constexpr int kSlices = kPanel / kLanes;
  constexpr int kLineBytes = kPanel * 4;
  const int segments = w.segments.count;
  const size_t panelBytes = w.segments.bytes() * kPanel;
  const int8_t* line = w.q;
  const int8_t* xj = x.q.data;
  Floats sum[count][panels][kSlices] = {};
  Ints whole[count][panels][kSlices] = {};
  for (int segment = 0; segment < segments; segment++) {
    for (int c = 0; c < count; c++) {
      const int bias = kBias * x.sum.data[c * x.sum.stride + segment];
      for (int p = 0; p < panels; p++) {
        for (int s = 0; s < kSlices; s++) whole[c][p][s] = (straddling ? whole[c][p][s] : Ints{}) - bias;
      }
    }
    int quads = w.segments.quads;
    // with fewer instructions a line, more lines are on their way from memory
    if constexpr (count * panels * kSlices == 1) {
      for (; quads >= 4; quads -= 4) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++, line += kLineBytes, xj += kQuadBytes) {
          addQuads<panels, count, ahead>(whole, line, panelBytes, xj, x.q.stride);
        }
      }
    }
    for (; quads > 0; quads--, line += kLineBytes, xj += kQuadBytes) {
      addQuads<panels, count, ahead>(whole, line, panelBytes, xj, x.q.stride);
    }
    for (int p = 0; p < panels; p++) {
      for (int s = 0; s < kSlices; s++) {
        const Floats scale = load<Floats>(w.s + ((size_t)p * segments + segment) * kPanel + s * kLanes);
        for (int c = 0; c < count; c++) {
          const Floats scaled =
              __builtin_convertvector(whole[c][p][s], Floats) * scale * x.s.data[c * x.s.stride + segment];
          if constexpr (straddling) {
            const Ints ended = lanesOf(w.ends[(size_t)p * segments + segment], s * kLanes);
            sum[c][p][s] = ended ? sum[c][p][s] + scaled : sum[c][p][s];
            whole[c][p][s] &= ~ended;
          } else {
            sum[c][p][s] += scaled;
          }
        }
      }
    }
  }
#pragma GCC unroll 16  // so that the sums need not be an array in memory
  for (int c = 0; c < count; c++) storeRows<panels>(xout.data + c * xout.stride, sum[c], w.d);
}

/* multiplyInt8 for a `count` that is known at run time, 1 to `most`. */
template <int panels, int most, bool ahead>
inline void multiplyInt8Count(Columns<float> xout, Int8Vectors x, int count, Int8Panels w) {
  if (count == most) {
    return w.ends ? multiplyInt8<panels, most, true, ahead>(xout, x, w)
                  : multiplyInt8<panels, most, false, ahead>(xout, x, w);
  }
  if constexpr (most > 1) multiplyInt8Count<panels, most - 1, ahead>(xout, x, count, w);
}

/* As multiplyPanels. */
template <int panels, int most, bool ahead = true>
inline Int8Panels multiplyInt8Panels(Columns<float>& xout, Int8Vectors x, int count, Int8Panels w) {
  constexpr int rows = panels * kPanel;
  while (w.d > rows - kPanel) {
    for (int c = 0; c < count; c += most) {
      const Int8Vectors some = {{x.q.data + c * x.q.stride, x.q.stride},
                                {x.s.data + c * x.s.stride, x.s.stride},
                                {x.sum.data + c * x.sum.stride, x.sum.stride}};
      multiplyInt8Count<panels, most, ahead>({xout.data + c * xout.stride, xout.stride}, some,
                                             count - c < most ? count - c : most, w);
    }
    w.q += w.segments.bytes() * rows;
    w.s += (size_t)w.segments.count * rows;
    if (w.ends) w.ends += (size_t)w.segments.count * panels;
    w.d -= rows;
    xout.data += rows;
  }
  return w;
}

/* From the near caches two panels at once are faster with AVX-512. With AVX2 they are not, and from memory slower. */
constexpr int kInt8Panels = kLanes == 16 ? 2 : 1;

void matmulInt8(Columns<float> xout, Int8Vectors x, int count, Int8Panels w, Reading reading) {
  if (count <= 2 && reading == Reading::kOneStream) w = multiplyInt8Panels<1, 2, false>(xout, x, count, w);
  if (count == 1 && reading == Reading::kPanelsAhead) w = multiplyInt8Panels<4, 1>(xout, x, 1, w);
  if (count == 1 && reading == Reading::kPanels) w = multiplyInt8Panels<kInt8Panels, 1>(xout, x, 1, w);
  multiplyInt8Panels<1, kInt8Columns>(xout, x, count, w);
}

// ----------------------------------------------------------------------------
// quantize

/* x / scale, rounded to integers, halves away from zero. NaN and infinity become 0. */
inline Ints rounded(Floats x, float scale) {
  const Floats quotient = x / scale;
  const Floats finite = quotient - quotient == 0 ? quotient : Floats{};
  const Ints towardsZero = __builtin_convertvector(finite, Ints);
  const Floats rest = finite - __builtin_convertvector(towardsZero, Floats);
  // a comparison is -1 where it holds
  return towardsZero - (rest >= 0.5f) + (rest <= -0.5f);
}

/*
 * Store `quads` quads of numbers that wrap as C's int8_t does, as addQuad reads them. Returns the sum of all numbers,
 * or 0 where no bias needs it.
 */
inline int storeQuads(int8_t* q, Ints values, int quads) {
  int sum = 0;
#if defined(__SSE2__) && !defined(__AVX512VNNI__)
  // the second two of four numbers become the upper halves of the first two
  values = (values << 24) >> 24;
#if defined(__AVX2__)
  const Ints second = (Ints)_mm256_bsrli_epi128((__m256i)values, 8);
#else
  const Ints second = (Ints)_mm_bsrli_si128((__m128i)values, 8);
#endif
  const Ints pairs = (values & 0xffff) | (second << 16);
  for (int quad = 0; quad < quads; quad++) {
    __builtin_memcpy(q + quad * kQuadBytes, (const char*)&pairs + quad * 16, kQuadBytes);
  }
#else
  const Bytes bytes = __builtin_convertvector(values, Bytes);
  __builtin_memcpy(q, &bytes, quads * kQuadBytes);
  if constexpr (kBias != 0) {
    for (int i = 0; i < kLanes; i++) sum += bytes[i];
  }
#endif
  return sum;
}

/* Quantize at most kLanes numbers of one segment into q, with zeros up to a whole quad. Returns storeQuads' sum. */
inline int quantizeSome(int8_t* q, const float* x, int size, float scale) {
  Floats values = {};
  __builtin_memcpy(&values, x, size * sizeof(float));
  return storeQuads(q, rounded(values, scale), (size + 3) / 4);
}

/* The largest magnitude; NaN if one is. */
inline float largest(const float* x, int size) {
  // without their signs, floats are ordered as their bits are, NaN above all others
  int32_t most = 0;
  for (int i = 0; i < size; i++) {
    int32_t bits;
    __builtin_memcpy(&bits, x + i, sizeof bits);
    bits &= 0x7fffffff;
    most = bits > most ? bits : most;
  }
  float max;
  __builtin_memcpy(&max, &most, sizeof max);
  return max == max ? max : __builtin_nanf("");
}

void quantize(MutableInt8Vectors xq, Columns<const float> x, int count, Segments segments, int groupSize) {
  const int n = segments.count * segments.columns;
  for (int c = 0; c < count; c++) {
    const float* row = x.data + c * x.stride;
    float scale = 0;
    for (int segment = 0; segment < segments.count; segment++) {
      const int begin = segment * segments.columns;
      if (begin % groupSize == 0) scale = largest(row + begin, groupSize < n - begin ? groupSize : n - begin) / 127.0f;
      int8_t* q = xq.q.data + c * xq.q.stride + (size_t)segment * segments.quads * kQuadBytes;
      int sum = 0;
      int i = 0;
      for (; i + kLanes <= segments.columns; i += kLanes, q += kLanes / 4 * kQuadBytes) {
        sum += quantizeSome(q, row + begin + i, kLanes, scale);
      }
      if (i < segments.columns) sum += quantizeSome(q, row + begin + i, segments.columns - i, scale);
      xq.s.data[c * xq.s.stride + segment] = scale;
      xq.sum.data[c * xq.sum.stride + segment] = sum;
    }
  }
}

}  // namespace

#endif
