/*
 * Matrices in panels of sixteen rows, and their matmul.
 *
 * A float32 sum in run.c's order is a chain: each addition waits for the one before, and no row can be split. So
 * each lane of a vector adds a row of its own. Four vectors are sixteen rows, whose numbers lie side by side,
 * column by column:
 *
 *     row 0:  a0 a1 a2 ...
 *     row 1:  b0 b1 b2 ...     ->   a0 b0 .. p0  a1 b1 .. p1  a2 b2 .. p2 ...
 *     row 15: p0 p1 p2 ...
 *
 * so that the weights are read as one straight stream. Rows past the last one are zeros. With a single x, two panels
 * may be read at once, which some processors do faster (../reading.ts).
 *
 * Reading the weights takes most of the time. With several x to multiply, a few columns at a time are used for all of
 * them while the next columns come from memory.
 */
import { panelsAtOnce, thread, threads } from "./model";

/** How many rows a panel has, and how many bytes a column of it takes. */
export const PANEL = 16;
export const COLUMN: usize = 64;

export function panelsOf(d: i32): i32 {
  return (d + PANEL - 1) / PANEL;
}

/** The bytes of a row of n numbers, with room for the next multiple of 16. */
export function rowBytes(n: i32): usize {
  return <usize>panelsOf(n) * COLUMN;
}

/** The bytes of a matrix of d rows and n columns. */
export function matrixBytes(d: i32, n: i32): usize {
  return <usize>panelsOf(d) * n * COLUMN;
}

/** The address of row i, column j in a matrix w of n columns. */
export function element(w: usize, i: i32, j: i32, n: i32): usize {
  return w + <usize>((i >> 4) * n + j) * COLUMN + ((i & 15) << 2);
}

/** Of `count` items, this thread's share is firstOf(count) to lastOf(count) - 1. */
export function firstOf(count: i32): i32 {
  return <i32>((<i64>count * thread) / threads);
}
export function lastOf(count: i32): i32 {
  return <i32>((<i64>count * (thread + 1)) / threads);
}

/** The rows of a result of d numbers that this thread's matmul computes: from firstRow to lastRow - 1. */
export function firstRow(d: i32): i32 {
  return firstOf(panelsOf(d)) * PANEL;
}
export function lastRow(d: i32): i32 {
  return min(lastOf(panelsOf(d)) * PANEL, d);
}

/** run.c 217: matmul. w (d, n) @ x (n) -> xout (d), for `count` vectors x, and this thread's share of the rows of w. */
export function matmul(xout: usize, x: usize, w: usize, n: i32, d: i32, count: i32): void {
  const xBytes = rowBytes(n);
  const xoutBytes = rowBytes(d);
  const panelBytes = <usize>n * COLUMN;
  const few = max(4, <i32>(NEAR_BYTES / xBytes) & ~1);
  const last = lastOf(panelsOf(d));
  let panel = firstOf(panelsOf(d));
  if (count === 1 && panelsAtOnce === 2) {
    for (; panel + 1 < last; panel += 2) {
      twoPanelsTimes(xout + panel * COLUMN, x, w + panel * panelBytes, panelBytes, n);
    }
  }
  for (; panel < last; panel++) {
    const wPanel = w + panel * panelBytes;
    for (let e = 0; e < count; e += few) {
      const xAt = x + e * xBytes;
      const xoutAt = xout + e * xoutBytes + panel * COLUMN;
      const some = min(few, count - e);
      if (some === 1) panelTimes(xoutAt, xAt, wPanel, n);
      else panelTimesFew(xoutAt, xoutBytes, xAt, xBytes, wPanel, n, some);
    }
  }
}

/** How many bytes of x are multiplied together: they stay in the L1 cache. */
const NEAR_BYTES: usize = 10240;

/** How many columns are used for all of those, while the next ones come from memory. */
const CHUNK = 32;

/** `count` rows of xout (16), xoutBytes apart = the panel w (16, n) @ `count` rows of x (n), xBytes apart */
function panelTimesFew(xout: usize, xoutBytes: usize, x: usize, xBytes: usize, w: usize, n: i32, count: i32): void {
  for (let e = 0; e < count; e++) clear(xout + e * xoutBytes);
  for (let j = 0; j < n; j += CHUNK, w += CHUNK * COLUMN) {
    const columns = min(CHUNK, n - j);
    let xAt = x + (j << 2);
    let xoutAt = xout;
    let rest = count;
    for (; rest >= 2; rest -= 2) {
      addTwo(xoutAt, xoutAt + xoutBytes, xAt, xAt + xBytes, w, columns);
      xAt += 2 * xBytes;
      xoutAt += 2 * xoutBytes;
    }
    if (rest > 0) addOne(xoutAt, xAt, w, columns);
  }
}

/** xout (16) = the panel w (16, n) @ x (n) */
export function panelTimes(xout: usize, x: usize, w: usize, n: i32): void {
  let sum0 = f32x4.splat(0);
  let sum1 = f32x4.splat(0);
  let sum2 = f32x4.splat(0);
  let sum3 = f32x4.splat(0);
  for (const end = x + ((<usize>n) << 2); x < end; x += 4, w += COLUMN) {
    const xj = v128.load_splat<f32>(x);
    sum0 = f32x4.add(sum0, f32x4.mul(v128.load(w), xj));
    sum1 = f32x4.add(sum1, f32x4.mul(v128.load(w, 16), xj));
    sum2 = f32x4.add(sum2, f32x4.mul(v128.load(w, 32), xj));
    sum3 = f32x4.add(sum3, f32x4.mul(v128.load(w, 48), xj));
  }
  v128.store(xout, sum0);
  v128.store(xout, sum1, 16);
  v128.store(xout, sum2, 32);
  v128.store(xout, sum3, 48);
}

/** xout (2, 16) = the panel w (16, n) and the one after it @ x (n) */
function twoPanelsTimes(xout: usize, x: usize, w: usize, panelBytes: usize, n: i32): void {
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let a2 = f32x4.splat(0);
  let a3 = f32x4.splat(0);
  let b0 = f32x4.splat(0);
  let b1 = f32x4.splat(0);
  let b2 = f32x4.splat(0);
  let b3 = f32x4.splat(0);
  let v = w + panelBytes;
  for (const end = x + ((<usize>n) << 2); x < end; x += 4, w += COLUMN, v += COLUMN) {
    const xj = v128.load_splat<f32>(x);
    a0 = f32x4.add(a0, f32x4.mul(v128.load(w), xj));
    b0 = f32x4.add(b0, f32x4.mul(v128.load(v), xj));
    a1 = f32x4.add(a1, f32x4.mul(v128.load(w, 16), xj));
    b1 = f32x4.add(b1, f32x4.mul(v128.load(v, 16), xj));
    a2 = f32x4.add(a2, f32x4.mul(v128.load(w, 32), xj));
    b2 = f32x4.add(b2, f32x4.mul(v128.load(v, 32), xj));
    a3 = f32x4.add(a3, f32x4.mul(v128.load(w, 48), xj));
    b3 = f32x4.add(b3, f32x4.mul(v128.load(v, 48), xj));
  }
  v128.store(xout, a0);
  v128.store(xout, a1, 16);
  v128.store(xout, a2, 32);
  v128.store(xout, a3, 48);
  v128.store(xout, b0, 64);
  v128.store(xout, b1, 80);
  v128.store(xout, b2, 96);
  v128.store(xout, b3, 112);
}

/** xout (16) = 0 */
export function clear(xout: usize): void {
  v128.store(xout, f32x4.splat(0));
  v128.store(xout, f32x4.splat(0), 16);
  v128.store(xout, f32x4.splat(0), 32);
  v128.store(xout, f32x4.splat(0), 48);
}

/** The same, added to xout. A separate function, since panelTimes is much faster without it. */
function addOne(xout: usize, x: usize, w: usize, n: i32): void {
  let sum0 = v128.load(xout);
  let sum1 = v128.load(xout, 16);
  let sum2 = v128.load(xout, 32);
  let sum3 = v128.load(xout, 48);
  for (const end = x + ((<usize>n) << 2); x < end; x += 4, w += COLUMN) {
    const xj = v128.load_splat<f32>(x);
    sum0 = f32x4.add(sum0, f32x4.mul(v128.load(w), xj));
    sum1 = f32x4.add(sum1, f32x4.mul(v128.load(w, 16), xj));
    sum2 = f32x4.add(sum2, f32x4.mul(v128.load(w, 32), xj));
    sum3 = f32x4.add(sum3, f32x4.mul(v128.load(w, 48), xj));
  }
  v128.store(xout, sum0);
  v128.store(xout, sum1, 16);
  v128.store(xout, sum2, 32);
  v128.store(xout, sum3, 48);
}

/** addOne for two x at once: eight sums are all that fits into the registers beside the weights. */
function addTwo(xoutA: usize, xoutB: usize, xA: usize, xB: usize, w: usize, n: i32): void {
  let a0 = v128.load(xoutA);
  let a1 = v128.load(xoutA, 16);
  let a2 = v128.load(xoutA, 32);
  let a3 = v128.load(xoutA, 48);
  let b0 = v128.load(xoutB);
  let b1 = v128.load(xoutB, 16);
  let b2 = v128.load(xoutB, 32);
  let b3 = v128.load(xoutB, 48);
  for (const end = xA + ((<usize>n) << 2); xA < end; xA += 4, xB += 4, w += COLUMN) {
    const a = v128.load_splat<f32>(xA);
    const b = v128.load_splat<f32>(xB);
    const w0 = v128.load(w);
    a0 = f32x4.add(a0, f32x4.mul(w0, a));
    b0 = f32x4.add(b0, f32x4.mul(w0, b));
    const w1 = v128.load(w, 16);
    a1 = f32x4.add(a1, f32x4.mul(w1, a));
    b1 = f32x4.add(b1, f32x4.mul(w1, b));
    const w2 = v128.load(w, 32);
    a2 = f32x4.add(a2, f32x4.mul(w2, a));
    b2 = f32x4.add(b2, f32x4.mul(w2, b));
    const w3 = v128.load(w, 48);
    a3 = f32x4.add(a3, f32x4.mul(w3, a));
    b3 = f32x4.add(b3, f32x4.mul(w3, b));
  }
  v128.store(xoutA, a0);
  v128.store(xoutA, a1, 16);
  v128.store(xoutA, a2, 32);
  v128.store(xoutA, a3, 48);
  v128.store(xoutB, b0);
  v128.store(xoutB, b1, 16);
  v128.store(xoutB, b2, 32);
  v128.store(xoutB, b3, 48);
}

/** xout (n) = row i of w */
export function copyRow(xout: usize, w: usize, i: i32, n: i32): void {
  for (let j = 0; j < n; j++) {
    store<f32>(xout + (j << 2), load<f32>(element(w, i, j, n)));
  }
}
