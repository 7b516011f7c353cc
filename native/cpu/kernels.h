/*
 * The kernels: the small loops in which a forward pass spends its time, once per instruction set.
 *
 * This header documents them. Every kernel returns the same bits as src/llama2/ on every instruction set:
 *
 *   - Each float operation rounds to float32. The compiler must not fuse a multiplication with an addition
 *     (-ffp-contract=off), nor reorder anything (no fast-math flag).
 *   - A sum is added in index order into one float32 that starts at 0. Speed comes from many sums side by side, one per
 *     lane, never from splitting one.
 *   - expf is glibc's, evaluated in float64 (src/llama2/math.ts).
 *
 * No pointer needs to be aligned, but a vector load that stays within a cache line is faster: panels begin at
 * multiples of 64 bytes. Nothing is read or written past the sizes given here.
 */
#ifndef LLAMA2_CPU_KERNELS_H
#define LLAMA2_CPU_KERNELS_H

#include <stddef.h>
#include <stdint.h>

namespace llama2 {

/*
 * How many rows a panel has. A matrix of d rows and n columns is stored as ceil(d / 16) panels of 16 rows, each column
 * by column, so that one load has the same column of many rows:
 *
 *     row  0: a0 a1 a2 ...
 *     row  1: b0 b1 b2 ...     ->   a0 b0 .. p0  a1 b1 .. p1  a2 b2 .. p2 ...
 *     row 15: p0 p1 p2 ...
 *
 * One layout for all: AVX-512 takes a column as one vector of 16, AVX2 as two of 8, SSE and NEON as four of 4.
 * Rows past the last one are zeros.
 */
constexpr int kPanel = 16;

constexpr int panelsOf(int rows) { return (rows + kPanel - 1) / kPanel; }

/* A matrix in panels, or some panels of one. */
struct Panels {
  const float* data;   // (ceil(d / 16), n, 16)
  size_t panelStride;  // floats from one panel to the next: 16 * n, or more
  int d;               // rows
  int n;               // columns
};

/*
 * Several vectors of the same length: number j of vector c is data[c * stride + j * step]. With a step of 1 they follow
 * each other; with a stride of 1 they are interleaved, beginning with the first number of each.
 */
template <typename T>
struct Columns {
  T* data;
  size_t stride;
  size_t step = 1;
};

/*
 * int8: src/llama2/quantize.ts.
 *
 * An integer sum ends where a group of w or a group of x ends; it is scaled and added to the float32 sum. If the group
 * size divides n, both end together, in all rows; if not, w's groups straddle rows and end at different columns. Either
 * way a group can end only after a multiple of gcd(n, groupSize) columns. These columns are a *segment*: its integers
 * are always summed up together.
 *
 * The instructions that multiply bytes take four neighbouring columns at once, a quad. A segment is padded with zeros
 * to whole quads.
 */
struct Segments {
  int count;    // segments of a row
  int columns;  // columns of a segment
  int quads;    // quads of a segment: ceil(columns / 4)

  size_t bytes() const { return static_cast<size_t>(count) * quads * 4; }  // of a row
};

/* An int8 matrix in panels, or some panels of one. */
struct Int8Panels {
  const int8_t* q;       // (ceil(d / 16), segments, quads, 16, 4)
  const float* s;        // (ceil(d / 16), segments, 16) the scale of each row in each segment
  const uint16_t* ends;  // (ceil(d / 16), segments) bit r: the sum of row r ends with this segment; nullptr: all do
  int d;                 // rows
  Segments segments;
};

/* The most bytes that a quad of activations takes. */
constexpr int kMostQuadBytes = 8;

/* Int8 activations, as quantize stores them for matmulInt8 of the same instruction set. */
template <typename Q, typename S, typename Sum>
struct Int8Columns {
  Columns<Q> q;      // (segments, quads)
  Columns<S> s;      // (segments) the scale of each segment
  Columns<Sum> sum;  // (segments) the sum of each segment's q
};
using Int8Vectors = Int8Columns<const int8_t, const float, const int32_t>;
using MutableInt8Vectors = Int8Columns<int8_t, float, int32_t>;

/* How a matrix is read. The fastest way depends on where it is in memory; the bits do not depend on it. */
enum class Reading {
  kPanels,       // several panels at once, whose sums hide the latency of additions
  kPanelsAhead,  // the same, with the next lines prefetched into the first cache
  kOneStream,    // one panel at a time, which the processor prefetches: for one or two vectors
  kAhead,        // one panel at a time, with lines prefetched long before they are needed
};

struct Kernels {
  /* The name of the instruction set: base, avx2, avx512 or neon. */
  const char* name;

  /*
   * xout (count, d) = w (d, n) @ x (count, n): `count` vectors x times the same matrix, which is read once for all of
   * them. Each result is a sum over j = 0..n-1 in that order. xout and x do not overlap. The vectors x may be
   * interleaved, which is faster if there are many.
   */
  void (*matmul)(Columns<float> xout, Columns<const float> x, int count, Panels w, Reading reading);

  /* The same with int8 weights and activations. */
  void (*matmulInt8)(Columns<float> xout, Int8Vectors x, int count, Int8Panels w, Reading reading);

  /*
   * xq = x, each of `count` vectors in groups of groupSize numbers; the last group may be shorter.
   */
  void (*quantize)(MutableInt8Vectors xq, Columns<const float> x, int count, Segments segments, int groupSize);

  /* o (size) = x (size) scaled to a root mean square of one, times weight (size). o may be x. */
  void (*rmsnorm)(float* o, const float* x, const float* weight, int size, float eps);

  /* In place, for each of `count` vectors of `size` numbers: divide by `divisor`, then softmax. */
  void (*softmax)(Columns<float> x, int count, int size, float divisor);

  /* hb (size) = silu(hb) * hb2 */
  void (*swiglu)(float* hb, const float* hb2, int size);

  /* x (size) += y (size) */
  void (*add)(float* x, const float* y, int size);

  /* Whether all of `size` numbers are finite. */
  bool (*allFinite)(const float* x, int size);

  /* The index of the largest of `size` numbers; the lowest such index on a tie; 0 if x[0] is NaN. */
  int (*argmax)(const float* x, int size);

  /* The index of a number that equals `value`, after skipping `before` such numbers; -1 if there is none. */
  int (*find)(const float* x, int size, float value, int before);

  /* Writes the numbers that are at least `least`, in their order, to `found` (size), and returns how many. */
  int (*atLeast)(float* found, const float* x, int size, float least);

  /* The sum of these numbers. An estimate: they are added in any order. */
  float (*sumAtLeast)(const float* x, int size, float least);

  /* Reads `lines` cache lines, to measure the bandwidth of memory, in one stream or in four side by side. */
  void (*sweep)(const char* memory, int lines, int streams);
};

/* One for each instruction set that was compiled in. */
extern const Kernels kBaseKernels;
#if defined(__x86_64__) || defined(_M_X64)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
#elif defined(__aarch64__) || defined(_M_ARM64)
extern const Kernels kNeonKernels;
#endif

}  // namespace llama2

#endif
