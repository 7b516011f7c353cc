/*
 * The kernels of kernels.h, written once for vectors of any width. Included by kernels_*.cpp only: see vectors.h.
 *
 * Before it is included, `kLanes` and these describe what fits into the registers of an instruction set:
 *   kColumns      the most vectors x side by side
 *   kFourPanels   the most vectors for sums with four panels at once
 *   kTwoPanels    the same with two panels
 */
#ifndef LLAMA2_CPU_KERNELS_IMPL_H
#define LLAMA2_CPU_KERNELS_IMPL_H

#include "kernels.h"
#include "vectors.h"

namespace {

using llama2::Columns;
using llama2::kPanel;
using llama2::Panels;
using llama2::Reading;

// ----------------------------------------------------------------------------
// matmul

/*
 * Store the results of some panels, (panels, 16) in `sums`, as rows of xout. `rows` is the number of rows: the last
 * panel may have fewer than 16. Vector by vector, so that sums can stay in registers until here.
 */
template <int panels>
inline void storeRows(float* xout, const Floats (&sums)[panels][kPanel / kLanes], int rows) {
  constexpr int kSlices = kPanel / kLanes;
  for (int p = 0; p < panels - 1; p++) {
    for (int s = 0; s < kSlices; s++) store(xout + p * kPanel + s * kLanes, sums[p][s]);
  }
  float* last = xout + (panels - 1) * kPanel;
  rows -= (panels - 1) * kPanel;
  if (rows >= kPanel) {
    for (int s = 0; s < kSlices; s++) store(last + s * kLanes, sums[panels - 1][s]);
  } else {
    float part[kPanel];
    for (int s = 0; s < kSlices; s++) store(part + s * kLanes, sums[panels - 1][s]);
    for (int r = 0; r < rows; r++) last[r] = part[r];
  }
}

/* Which lines are prefetched while a panel is read. */
enum class Ahead {
  kNone,
  kNear,  // those that come soon, into the first cache
  kFar,   // those that come later, into the second
};

constexpr size_t kLine = 64;  // bytes
constexpr int kNearLines = 16;
constexpr int kFarLines = 128;

template <Ahead ahead>
inline void prefetch(const void* line) {
  const char* const bytes = (const char*)line;
  if constexpr (ahead == Ahead::kNear) __builtin_prefetch(bytes + kNearLines * kLine, 0, 3);
  if constexpr (ahead == Ahead::kFar) __builtin_prefetch(bytes + kFarLines * kLine, 0, 2);
}

/*
 * Some panels times some vectors: `panels` * `count` * 16 sums side by side, all in registers. Interleaved vectors need
 * one address for a number of each, which leaves the registers to the sums.
 */
template <int panels, int count, bool interleaved, Ahead ahead>
inline void multiply(Columns<float> xout, Columns<const float> x, Panels w) {
  constexpr int kSlices = kPanel / kLanes;
  Floats sum[count][panels][kSlices] = {};
  for (size_t j = 0; j < (size_t)w.n; j++) {
    const float* xj = x.data + (interleaved ? j * x.step : j);
    for (int p = 0; p < panels; p++) {
      const float* line = w.data + p * w.panelStride + j * kPanel;
      prefetch<ahead>(line);
      for (int s = 0; s < kSlices; s++) {
        const Floats column = load<Floats>(line + s * kLanes);
        for (int c = 0; c < count; c++) sum[c][p][s] += column * xj[interleaved ? c : c * x.stride];
      }
    }
  }
#pragma GCC unroll 16  // so that the sums need not be an array in memory
  for (int c = 0; c < count; c++) storeRows<panels>(xout.data + c * xout.stride, sum[c], w.d);
}

/* multiply for a `count` that is known at run time, 1 to `most`. */
template <int panels, int most, Ahead ahead>
inline void multiplyCount(Columns<float> xout, Columns<const float> x, int count, Panels w) {
  if (count == most) {
    return x.stride == 1 ? multiply<panels, most, true, ahead>(xout, x, w)
                         : multiply<panels, most, false, ahead>(xout, x, w);
  }
  if constexpr (most > 1) multiplyCount<panels, most - 1, ahead>(xout, x, count, w);
}

/* All complete runs of `panels` panels, for all vectors, so that a panel is read from memory once. Returns the rest. */
template <int panels, int most, Ahead ahead>
inline Panels multiplyPanels(Columns<float>& xout, Columns<const float> x, int count, Panels w) {
  constexpr int rows = panels * kPanel;
  while (w.d > rows - kPanel) {
    for (int c = 0; c < count; c += most) {
      const int some = count - c < most ? count - c : most;
      multiplyCount<panels, most, ahead>({xout.data + c * xout.stride, xout.stride},
                                         {x.data + c * x.stride, x.stride, x.step}, some, w);
    }
    w.data += panels * w.panelStride;
    w.d -= rows;
    xout.data += rows;
  }
  return w;
}

/*
 * A sum waits for every addition. With few vectors there is room for the sums of several panels at once, which hides
 * that latency. Each case is a function of its own with little setup: the smallest matrices take less than a
 * microsecond.
 */
template <Ahead ahead>
__attribute__((noinline)) void matmulOne(Columns<float> xout, Columns<const float> x, Panels w) {
  w = multiplyPanels<4, 1, ahead>(xout, x, 1, w);
  w = multiplyPanels<3, 1, ahead>(xout, x, 1, w);
  w = multiplyPanels<2, 1, ahead>(xout, x, 1, w);
  multiplyPanels<1, 1, ahead>(xout, x, 1, w);
}

template <Ahead ahead>
__attribute__((noinline)) void matmulFew(Columns<float> xout, Columns<const float> x, int count, Panels w) {
  if constexpr (kFourPanels > 1) {
    if (count <= kFourPanels) w = multiplyPanels<4, kFourPanels, ahead>(xout, x, count, w);
  }
  w = multiplyPanels<2, kTwoPanels, ahead>(xout, x, count, w);
  multiplyPanels<1, kTwoPanels, ahead>(xout, x, count, w);
}

template <Ahead ahead>
__attribute__((noinline)) void matmulMany(Columns<float> xout, Columns<const float> x, int count, Panels w) {
  multiplyPanels<1, kColumns, ahead>(xout, x, count, w);
}

__attribute__((noinline)) void matmulStream(Columns<float> xout, Columns<const float> x, int count, Panels w) {
  multiplyPanels<1, 2, Ahead::kNone>(xout, x, count, w);
}

/* As many panels at once as the sums have room for. */
template <Ahead ahead>
inline void matmulPanels(Columns<float> xout, Columns<const float> x, int count, Panels w) {
  if (count == 1) return matmulOne<ahead>(xout, x, w);
  if (count <= kTwoPanels) return matmulFew<ahead>(xout, x, count, w);
  matmulMany<ahead>(xout, x, count, w);
}

void matmul(Columns<float> xout, Columns<const float> x, int count, Panels w, Reading reading) {
  if (reading == Reading::kPanelsAhead) {
    if (count > kTwoPanels) return matmulMany<Ahead::kFar>(xout, x, count, w);
    return matmulPanels<Ahead::kNear>(xout, x, count, w);
  }
  if (reading == Reading::kAhead) return matmulMany<Ahead::kFar>(xout, x, count, w);
  if (count <= 2 && reading == Reading::kOneStream) return matmulStream(xout, x, count, w);
  matmulPanels<Ahead::kNone>(xout, x, count, w);
}

// ----------------------------------------------------------------------------
// the smaller kernels

void rmsnorm(float* o, const float* x, const float* weight, int size, float eps) {
  float ss = 0;
  for (int j = 0; j < size; j++) ss += x[j] * x[j];
  ss /= (float)size;
  ss += eps;
  ss = 1.0f / __builtin_sqrtf(ss);
  for (int j = 0; j < size; j++) o[j] = weight[j] * (ss * x[j]);
}

/* The largest of `size` numbers, as comparisons in order would find it: NaN only if x[0] is NaN. */
inline float maximum(const float* x, int size) {
  Floats most = Floats{} + x[0];
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    const Floats v = load<Floats>(x + i);
    most = v > most ? v : most;
  }
  float max = x[0];
  for (int lane = 0; lane < kLanes; lane++) max = most[lane] > max ? most[lane] : max;
  for (; i < size; i++) max = x[i] > max ? x[i] : max;
  return max;
}

/*
 * softmax for `count` vectors at once. Each sum waits for every addition; side by side they wait together, and the
 * exponentials are computed meanwhile.
 */
template <int count>
inline void softmaxOf(Columns<float> x, int size, float divisor) {
  float max[count], sum[count];
  for (int c = 0; c < count; c++) {
    float* row = x.data + c * x.stride;
    for (int i = 0; i < size; i++) row[i] /= divisor;
    max[c] = maximum(row, size);
    sum[c] = 0;
  }
  int i = 0;
  for (; i + kHalf <= size; i += kHalf) {
    for (int c = 0; c < count; c++) {
      float* row = x.data + c * x.stride + i;
      store(row, expf(load<HalfFloats>(row) - max[c]));
    }
    for (int lane = 0; lane < kHalf; lane++) {
      for (int c = 0; c < count; c++) sum[c] += x.data[c * x.stride + i + lane];
    }
  }
  for (; i < size; i++) {
    for (int c = 0; c < count; c++) {
      float* row = x.data + c * x.stride;
      row[i] = expf(row[i] - max[c]);
      sum[c] += row[i];
    }
  }
  for (int c = 0; c < count; c++) {
    float* row = x.data + c * x.stride;
    for (int j = 0; j < size; j++) row[j] /= sum[c];
  }
}

void softmax(Columns<float> x, int count, int size, float divisor) {
  int c = 0;
  for (; c + 4 <= count; c += 4) softmaxOf<4>({x.data + c * x.stride, x.stride}, size, divisor);
  for (; c + 2 <= count; c += 2) softmaxOf<2>({x.data + c * x.stride, x.stride}, size, divisor);
  if (c < count) softmaxOf<1>({x.data + c * x.stride, x.stride}, size, divisor);
}

template <typename T>
inline T gated(T h, T h2) {
  const T silu = h * (1.0f / (1.0f + expf(-h)));
  return silu * h2;
}

void swiglu(float* hb, const float* hb2, int size) {
  int i = 0;
  for (; i + kHalf <= size; i += kHalf) {
    store(hb + i, gated(load<HalfFloats>(hb + i), load<HalfFloats>(hb2 + i)));
  }
  for (; i < size; i++) hb[i] = gated(hb[i], hb2[i]);
}

void add(float* x, const float* y, int size) {
  for (int i = 0; i < size; i++) x[i] += y[i];
}

bool allFinite(const float* x, int size) {
  Floats zeros = {};  // a finite number minus itself is 0
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    const Floats v = load<Floats>(x + i);
    zeros += v - v;
  }
  float zero = 0;
  for (int lane = 0; lane < kLanes; lane++) zero += zeros[lane];
  for (; i < size; i++) zero += x[i] - x[i];
  return zero == 0;
}

int find(const float* x, int size, float value, int before) {
  constexpr int kBlock = 64;  // numbers that are first counted, without a branch for each
  for (int begin = 0; begin < size; begin += kBlock) {
    const int end = size - begin < kBlock ? size : begin + kBlock;
    int equal = 0;
    for (int i = begin; i < end; i++) equal += x[i] == value;
    if (equal <= before) {
      before -= equal;
      continue;
    }
    for (int i = begin; i < end; i++) {
      if (x[i] == value && before-- == 0) return i;
    }
  }
  return -1;
}

int argmax(const float* x, int size) {
  const int index = find(x, size, maximum(x, size), 0);
  return index < 0 ? 0 : index;  // if x[0] is NaN, nothing equals it
}

int atLeast(float* found, const float* x, int size, float least) {
  int count = 0;
  int i = 0;
#if defined(__AVX512F__)
  for (; i + kLanes <= size; i += kLanes) {
    const __m512 v = _mm512_loadu_ps(x + i);
    const __mmask16 large = _mm512_cmp_ps_mask(v, _mm512_set1_ps(least), _CMP_GE_OQ);
    _mm512_storeu_ps(found + count, _mm512_maskz_compress_ps(large, v));
    count += __builtin_popcount(large);
  }
#endif
  for (; i < size; i++) {
    // always written, kept only if it counts: no branch to mispredict
    found[count] = x[i];
    count += x[i] >= least;
  }
  return count;
}

float sumAtLeast(const float* x, int size, float least) {
  constexpr int kSums = 4;  // side by side: an addition waits for the one before
  Floats sums[kSums] = {};
  int i = 0;
  for (; i + kSums * kLanes <= size; i += kSums * kLanes) {
    for (int s = 0; s < kSums; s++) {
      const Floats v = load<Floats>(x + i + s * kLanes);
      sums[s] += v >= least ? v : Floats{};
    }
  }
  float sum = 0;
  for (; i < size; i++) sum += x[i] >= least ? x[i] : 0;
  for (int s = 0; s < kSums; s++) {
    for (int lane = 0; lane < kLanes; lane++) sum += sums[s][lane];
  }
  return sum;
}

/* Read `streams` parts of memory side by side, with the lines that are `ahead` of them prefetched; 0: without. */
template <int streams, int ahead>
inline void sweepStreams(const char* memory, int lines) {
  typedef int64_t Words __attribute__((vector_size(4 * kLanes)));
  constexpr int kStep = 8 / streams;  // lines of a stream at once
  constexpr int kSums = 8;            // side by side: no load waits for the sum of the one before
  const int each = lines / streams;
  Words sums[kSums] = {};
  for (int i = 0; i + kStep <= each; i += kStep) {
#pragma GCC unroll 8
    for (int k = 0; k < streams * kStep; k++) {
      const char* line = memory + (size_t)(k % streams * each + i + k / streams) * kLine;
      if (ahead > 0) __builtin_prefetch(line + ahead * kLine);
#pragma GCC unroll 4
      for (size_t at = 0; at < kLine; at += sizeof(Words)) {
        Words words;
        __builtin_memcpy(&words, line + at, sizeof words);
        sums[(k * kLine + at) / sizeof words % kSums] ^= words;
      }
    }
  }
  for (int k = 1; k < kSums; k++) sums[0] ^= sums[k];
  asm volatile("" ::"m"(sums[0]));  // keeps the compiler from removing the loop
}

/*
 * Measured: on Zen 5 and Sapphire Rapids the processor's own prefetching of one stream leaves a fifth of the bandwidth
 * unused, and prefetching a page ahead uses it. On Zen 3 that is slower, and four streams are 1.4 times as fast as one.
 */
void sweep(const char* memory, int lines, int streams) {
  if (streams == 1) return sweepStreams<1, 64>(memory, lines);
  sweepStreams<4, 0>(memory, lines);
}

}  // namespace

#endif
