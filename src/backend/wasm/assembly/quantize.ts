/*
 * int8: matrices whose weights are groups of int8 numbers with a scale each, as in llama2/quantize.ts, bit for bit. All
 * threads quantize the x of a matmul before it.
 *
 * The panels have sixteen rows as well, but columns are stored in pairs, because one instruction multiplies pairs of
 * int16 numbers and adds the two products:
 *
 *     row 0:  a0 a1 a2 a3 ...
 *     row 1:  b0 b1 b2 b3 ...     ->   a0 a1 b0 b1 .. p0 p1  a2 a3 b2 b3 .. p2 p3 ...
 *
 * After the panels come the scales: as a matrix (d, n / groupSize) in panels if rows are whole groups, otherwise in the
 * checkpoint's order.
 */
import { clear, element, firstOf, lastOf, matrixBytes, PANEL, panelsOf, rowBytes } from "./matmul";
import { ivals, thread, xq, xqStride, xs, xsStride } from "./model";

/** The bytes of a pair of columns of a panel. */
const PAIR: usize = 32;

const Q_MAX: f32 = 127;

function pairsOf(n: i32): i32 {
  return (n + 1) / 2;
}

function groupsOf(n: i32, groupSize: i32): i32 {
  return (n + groupSize - 1) / groupSize;
}

/** Whether every row begins with a group, and no group ends within a pair of columns: the usual, fast case. */
function rowsAreWholeGroups(n: i32, groupSize: i32): bool {
  return n % groupSize === 0 && groupSize % 2 === 0;
}

function panelsBytes(d: i32, n: i32): usize {
  return <usize>panelsOf(d) * pairsOf(n) * PAIR;
}

/** The bytes of an int8 matrix of d rows and n columns. */
export function int8Bytes(d: i32, n: i32, groupSize: i32): usize {
  const scales = rowsAreWholeGroups(n, groupSize)
    ? matrixBytes(d, n / groupSize)
    : rowBytes(<i32>((<i64>d * n) / groupSize));
  return panelsBytes(d, n) + scales;
}

// ----------------------------------------------------------------------------
// the activations: xq (entry, n) int16 numbers that an int8 could hold, xs (entry, groups) scales

/** The row of xq and xs where this thread finds the first of `count` entries. */
function firstRow(count: i32): i32 {
  return count === 1 ? thread : 0;
}

/** runq.c 145: quantize. x (count, n) -> xq, xs. The threads share the groups of several rows. */
export function quantize(x: usize, n: i32, count: i32, groupSize: i32): void {
  const groups = groupsOf(n, groupSize);
  const alone = count === 1;
  const last = alone ? groups : lastOf(count * groups);
  for (let item = alone ? 0 : firstOf(count * groups); item < last; item++) {
    const e = item / groups;
    const row = firstRow(count) + e;
    const start = (item % groups) * groupSize;
    const size = min(groupSize, n - start);
    const from = x + e * rowBytes(n) + ((<usize>start) << 2);
    const to = xq + row * xqStride + ((<usize>start) << 1);
    store<f32>(xs + row * xsStride + ((<usize>(item % groups)) << 2), quantizeGroup(to, from, size));
  }
}

/** One group, x (size) -> q (size) int16. Returns its scale. */
function quantizeGroup(q: usize, x: usize, size: i32): f32 {
  const wholes = (<usize>(size & ~3)) << 2; // bytes of whole vectors
  const bytes = (<usize>size) << 2;

  // find the max absolute value in the current group; max keeps NaN
  let most = f32x4.splat(0);
  for (let i: usize = 0; i < wholes; i += 16) most = f32x4.max(most, f32x4.abs(v128.load(x + i)));
  most = f32x4.max(most, i64x2.shuffle(most, most, 1, 0));
  let wmax = max<f32>(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1));
  for (let i = wholes; i < bytes; i += 4) wmax = max<f32>(wmax, abs<f32>(load<f32>(x + i)));

  // calculate the scaling factor, and the quantized values
  const scale = wmax / Q_MAX;
  for (let i: usize = 0; i < wholes; i += 16) {
    const int8s = toInt8s(f32x4.div(v128.load(x + i), f32x4.splat(scale)));
    v128.store64_lane(q + (i >> 1), i16x8.narrow_i32x4_s(int8s, int8s), 0);
  }
  for (let i = wholes; i < bytes; i += 4) {
    const int8 = toInt8s(f32x4.splat(load<f32>(x + i) / scale));
    store<i16>(q + (i >> 1), i32x4.extract_lane(int8, 0));
  }
  return scale;
}

/** C's roundf, half away from zero, to int8. In a group of zeros, 0 / 0 becomes 0. */
function toInt8s(x: v128): v128 {
  const whole = f32x4.trunc(x);
  const away = f32x4.ge(f32x4.abs(f32x4.sub(x, whole)), f32x4.splat(0.5));
  const one = v128.bitselect(x, f32x4.splat(1), f32x4.splat(-0)); // with the sign of x
  const rounded = f32x4.add(whole, v128.and(one, away));
  const finite = f32x4.lt(f32x4.abs(x), f32x4.splat(Infinity));
  const int32s = i32x4.trunc_sat_f32x4_s(v128.and(rounded, finite));
  return i32x4.shr_s(i32x4.shl(int32s, 24), 24); // wraps, as C's int8_t
}

// ----------------------------------------------------------------------------
// matmul

/** runq.c 317: matmul. w (d, n) @ xq (count, n) -> xout (count, d), for this thread's share of the rows of w. */
export function matmul(xout: usize, w: usize, n: i32, d: i32, count: i32, groupSize: i32): void {
  const scales = w + panelsBytes(d, n);
  const last = lastOf(panelsOf(d));
  for (let panel = firstOf(panelsOf(d)); panel < last; panel++) {
    const wPanel = w + panel * panelsBytes(PANEL, n);
    const wholeGroups = rowsAreWholeGroups(n, groupSize);
    const sPanel = wholeGroups ? scales + panel * matrixBytes(PANEL, n / groupSize) : scales;
    for (let e = 0; e < count; e++) {
      const xoutAt = xout + e * rowBytes(d) + panel * rowBytes(PANEL);
      const row = firstRow(count) + e;
      const xqAt = xq + row * xqStride;
      const xsAt = xs + row * xsStride;
      if (wholeGroups && e + 1 < count) {
        panelTimesTwo(xoutAt, xoutAt + rowBytes(d), xqAt, xsAt, wPanel, sPanel, n, groupSize);
        e++;
      } else if (wholeGroups) {
        panelTimes(xoutAt, xqAt, xsAt, wPanel, sPanel, n, groupSize);
      } else {
        const first = panel * PANEL;
        straddlingPanelTimes(xoutAt, xqAt, xsAt, wPanel, scales, n, groupSize, first, min(PANEL, d - first));
      }
    }
  }
}

/** The products of four rows, from w on, with a pair of columns. */
function dot(w: usize, xPair: v128): v128 {
  return i32x4.dot_i16x8_s(v128.load_ext<i8>(w), xPair);
}

/** xout (16) = the panel w (16, n) with the scales s (16, n / groupSize) @ xq (n), group after group */
function panelTimes(xout: usize, xq: usize, xs: usize, w: usize, s: usize, n: i32, groupSize: i32): void {
  let val0 = f32x4.splat(0);
  let val1 = f32x4.splat(0);
  let val2 = f32x4.splat(0);
  let val3 = f32x4.splat(0);
  const groupBytes = (<usize>groupSize) << 1;
  for (const end = xq + ((<usize>n) << 1); xq < end; xs += 4, s += 64) {
    let sum0 = i32x4.splat(0);
    let sum1 = i32x4.splat(0);
    let sum2 = i32x4.splat(0);
    let sum3 = i32x4.splat(0);
    for (const groupEnd = xq + groupBytes; xq < groupEnd; xq += 4, w += PAIR) {
      const xPair = v128.load_splat<i32>(xq);
      sum0 = i32x4.add(sum0, dot(w, xPair));
      sum1 = i32x4.add(sum1, dot(w + 8, xPair));
      sum2 = i32x4.add(sum2, dot(w + 16, xPair));
      sum3 = i32x4.add(sum3, dot(w + 24, xPair));
    }
    const xScale = v128.load_splat<f32>(xs);
    val0 = f32x4.add(val0, scaled(sum0, v128.load(s), xScale));
    val1 = f32x4.add(val1, scaled(sum1, v128.load(s, 16), xScale));
    val2 = f32x4.add(val2, scaled(sum2, v128.load(s, 32), xScale));
    val3 = f32x4.add(val3, scaled(sum3, v128.load(s, 48), xScale));
  }
  v128.store(xout, val0);
  v128.store(xout, val1, 16);
  v128.store(xout, val2, 32);
  v128.store(xout, val3, 48);
}

/**
 * The same for two neighbouring rows of xq and xs: each weight is widened once for both. The registers have room only
 * for the sums of one group, so the sums of all groups stay in xout.
 */
function panelTimesTwo(
  xoutA: usize,
  xoutB: usize,
  xqA: usize,
  xsA: usize,
  w: usize,
  s: usize,
  n: i32,
  groupSize: i32,
): void {
  clear(xoutA);
  clear(xoutB);
  let xqB = xqA + xqStride;
  let xsB = xsA + xsStride;
  const groupBytes = (<usize>groupSize) << 1;
  for (const end = xqA + ((<usize>n) << 1); xqA < end; xsA += 4, xsB += 4, s += 64) {
    let a0 = i32x4.splat(0);
    let a1 = i32x4.splat(0);
    let a2 = i32x4.splat(0);
    let a3 = i32x4.splat(0);
    let b0 = i32x4.splat(0);
    let b1 = i32x4.splat(0);
    let b2 = i32x4.splat(0);
    let b3 = i32x4.splat(0);
    for (const groupEnd = xqA + groupBytes; xqA < groupEnd; xqA += 4, xqB += 4, w += PAIR) {
      const a = v128.load_splat<i32>(xqA);
      const b = v128.load_splat<i32>(xqB);
      const w0 = v128.load_ext<i8>(w);
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(w0, a));
      b0 = i32x4.add(b0, i32x4.dot_i16x8_s(w0, b));
      const w1 = v128.load_ext<i8>(w + 8);
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(w1, a));
      b1 = i32x4.add(b1, i32x4.dot_i16x8_s(w1, b));
      const w2 = v128.load_ext<i8>(w + 16);
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(w2, a));
      b2 = i32x4.add(b2, i32x4.dot_i16x8_s(w2, b));
      const w3 = v128.load_ext<i8>(w + 24);
      a3 = i32x4.add(a3, i32x4.dot_i16x8_s(w3, a));
      b3 = i32x4.add(b3, i32x4.dot_i16x8_s(w3, b));
    }
    addScaled(xoutA, a0, a1, a2, a3, s, xsA);
    addScaled(xoutB, b0, b1, b2, b3, s, xsB);
  }
}

/** xout (16) += the sums of a group, scaled. */
function addScaled(xout: usize, sum0: v128, sum1: v128, sum2: v128, sum3: v128, s: usize, xs: usize): void {
  const xScale = v128.load_splat<f32>(xs);
  v128.store(xout, f32x4.add(v128.load(xout), scaled(sum0, v128.load(s), xScale)));
  v128.store(xout, f32x4.add(v128.load(xout, 16), scaled(sum1, v128.load(s, 16), xScale)), 16);
  v128.store(xout, f32x4.add(v128.load(xout, 32), scaled(sum2, v128.load(s, 32), xScale)), 32);
  v128.store(xout, f32x4.add(v128.load(xout, 48), scaled(sum3, v128.load(s, 48), xScale)), 48);
}

function scaled(ival: v128, wScale: v128, xScale: v128): v128 {
  return f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(ival), wScale), xScale);
}

/**
 * The same if groups straddle rows, so that they end at different columns in each row. The integer sums of sixteen rows
 * are computed together, column by column, and wherever a group may end, each row is checked. `first` is the index of
 * the first of the `rows` rows.
 */
function straddlingPanelTimes(
  xout: usize,
  xq: usize,
  xs: usize,
  w: usize,
  s: usize,
  n: i32,
  groupSize: i32,
  first: i32,
  rows: i32,
): void {
  memory.fill(xout, 0, rowBytes(PANEL));
  const sums = ivals + thread * rowBytes(PANEL);
  const run = gcd(n, groupSize); // every end of a group, of w's or of x's, is a multiple of this
  let sum0 = i32x4.splat(0);
  let sum1 = i32x4.splat(0);
  let sum2 = i32x4.splat(0);
  let sum3 = i32x4.splat(0);
  for (let j = 0; j < n; ) {
    for (const end = j + run; j < end; j++) {
      // only this column of the pair
      const xj = v128.and(v128.load_splat<i32>(xq + ((j >> 1) << 2)), i32x4.splat(j & 1 ? 0xffff0000 : 0xffff));
      const wPair = w + (j >> 1) * PAIR;
      sum0 = i32x4.add(sum0, dot(wPair, xj));
      sum1 = i32x4.add(sum1, dot(wPair + 8, xj));
      sum2 = i32x4.add(sum2, dot(wPair + 16, xj));
      sum3 = i32x4.add(sum3, dot(wPair + 24, xj));
    }
    v128.store(sums, sum0);
    v128.store(sums, sum1, 16);
    v128.store(sums, sum2, 32);
    v128.store(sums, sum3, 48);
    addEndedGroups(xout, sums, xs, s, n, groupSize, first, rows, j);
    sum0 = v128.load(sums);
    sum1 = v128.load(sums, 16);
    sum2 = v128.load(sums, 32);
    sum3 = v128.load(sums, 48);
  }
}

/** For each row where a group of w or x ends before column j: add the scaled sum to its result, and reset it. */
function addEndedGroups(
  xout: usize,
  sums: usize,
  xs: usize,
  s: usize,
  n: i32,
  groupSize: i32,
  first: i32,
  rows: i32,
  j: i32,
): void {
  const xScale = load<f32>(xs + (((j - 1) / groupSize) << 2));
  const xEnds = j % groupSize === 0 || j === n;
  for (let row = 0; row < rows; row++) {
    const end = <u32>(first + row) * n + j; // counted through all rows
    if (!xEnds && end % groupSize !== 0) continue;
    const at = row << 2;
    const wScale = load<f32>(s + (((end - 1) / groupSize) << 2));
    store<f32>(xout + at, load<f32>(xout + at) + <f32>load<i32>(sums + at) * wScale * xScale);
    store<i32>(sums + at, 0);
  }
}

function gcd(a: i32, b: i32): i32 {
  while (b !== 0) {
    const rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/** runq.c 139: dequantize. xout (n) = row i of w (d, n) */
export function copyRow(xout: usize, w: usize, i: i32, n: i32, d: i32, groupSize: i32): void {
  const scales = w + panelsBytes(d, n);
  const panel = w + (i / PANEL) * panelsBytes(PANEL, n) + ((i % PANEL) << 1);
  for (let j = 0; j < n; j++) {
    const s = rowsAreWholeGroups(n, groupSize)
      ? element(scales, i, j / groupSize, n / groupSize)
      : scales + (((<u32>i * n + j) / groupSize) << 2);
    const q = load<i8>(panel + (j >> 1) * PAIR + (j & 1));
    store<f32>(xout + (j << 2), <f32>q * load<f32>(s));
  }
}
