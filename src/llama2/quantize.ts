/*
 * int8: what runq.c adds to run.c, in its words.
 *
 * Writing a token takes one pass over all weights, and a large model spends that time waiting for them to come from
 * memory. An int8 weight is a quarter of a float32 one: a quarter of the file, of the memory and of the waiting.
 *
 * One byte can say -127..127 and no more, so numbers need a common measure. A *group* is a row of neighbouring
 * numbers that share a scale: number = q * scale, where the scale makes the group's largest number 127. The error is
 * then at most half a scale. Small groups follow the numbers more closely and cost more scales; 64 is usual. One
 * scale for a whole tensor would let its largest number decide how coarsely all others are kept.
 *
 * The activations are rounded to int8 as well, group by group, right before each matmul. Then the products of a group
 * are products of whole numbers, which add up exactly, and only the group's sum meets float32:
 *
 *     sum of (qw * sw) * (qx * sx)  =  (sum of qw * qx) * sw * sx
 *
 * "runq.c 139" names the line of the original where the function it translates begins.
 */
import { f32, roundf } from "./math.ts";
import type { Config, Packed } from "./transformer.ts";

/** Numbers in int8, in groups with a scale each. runq.c 34. */
export interface QuantizedTensor {
  q: Int8Array; // (size) quantized values
  s: Float32Array; // (size / groupSize, rounded up) scaling factors
  groupSize: number;
}

/** A matrix of d rows and n columns. Its groups follow each other through all rows: they may straddle two. */
export interface QuantizedRows extends QuantizedTensor {
  d: number;
  n: number;
}

/** 64, halved until no group straddles two rows. (export.py, by default, looks at dim only.) */
export function defaultGroupSize({ dim, hiddenDim }: Config): number {
  let groupSize = 64;
  while (dim % groupSize !== 0 || hiddenDim % groupSize !== 0) groupSize /= 2;
  return groupSize;
}

const Q_MAX = 127;

/** runq.c 139: dequantize, for the numbers from `start` on, as many as x holds. */
export function dequantize({ q, s, groupSize }: QuantizedTensor, x: Float32Array, start: number): void {
  for (let i = 0; i < x.length; i++) {
    x[i] = q[start + i] * s[Math.floor((start + i) / groupSize)];
  }
}

/** Room for n activations, as runq.c's malloc_run_state 91 makes for xq and hq. */
export function mallocQuantized(n: number, groupSize: number): QuantizedTensor {
  return { q: new Int8Array(n), s: new Float32Array(Math.ceil(n / groupSize)), groupSize };
}

/**
 * runq.c 145: quantize. Round the activations x to int8, into qx. Where the group size does not divide their number,
 * the last group is shorter. A group of zeros has the scale 0, and 0 / 0, which is NaN, is stored as 0.
 */
export function quantize({ q, s, groupSize }: QuantizedTensor, x: Float32Array): void {
  for (let group = 0; group < s.length; group++) {
    const start = group * groupSize;
    const end = Math.min(start + groupSize, x.length);

    // find the max absolute value in the current group. If one is NaN, so is the max: runq.c skips it, and a broken
    // model would then write nonsense unnoticed
    let wmax = 0;
    for (let i = start; i < end; i++) {
      wmax = Math.max(wmax, Math.abs(x[i]));
    }

    // calculate and write the scaling factor
    const scale = f32(wmax / Q_MAX);
    s[group] = scale;

    // calculate and write the quantized values
    for (let i = start; i < end; i++) {
      q[i] = roundf(f32(x[i] / scale));
    }
  }
}

/**
 * runq.c 317: matmul. w (d, n) @ x (n) -> xout (d), with x quantized first.
 *
 * A row is summed piece by piece, a piece being what lies in one group of w and in one group of x. Where the group
 * size divides n, these are the same, and the pieces are the groups. Where it does not, w's groups straddle rows while
 * those of x begin anew at 0, so the boundaries of both cut. (runq.c, which does not cut, takes wrong scales there.)
 */
export function matmul(xout: Float32Array, x: Float32Array, w: QuantizedRows): void {
  const { d, n, groupSize } = w;
  const xq = mallocQuantized(n, groupSize);
  quantize(xq, x);
  for (let i = 0; i < d; i++) {
    const row = i * n; // where the row begins in w.q
    let val = 0;
    for (let j = 0; j < n; ) {
      const wGroup = Math.floor((row + j) / groupSize);
      const xGroup = Math.floor(j / groupSize);
      const end = Math.min(n, (wGroup + 1) * groupSize - row, (xGroup + 1) * groupSize);
      let ival = 0;
      for (; j < end; j++) {
        ival += w.q[row + j] * xq.q[j];
      }
      val = f32(val + f32(f32(f32(ival) * w.s[wGroup]) * xq.s[xGroup]));
    }
    xout[i] = val;
  }
}

/**
 * Of how many columns the sums of a matmul are whole in all rows: every boundary of a group, of w's or of x's, comes
 * after a multiple of so many.
 */
export function runOf(n: number, groupSize: number): number {
  return groupSize === 0 ? n : runOf(groupSize, n % groupSize); // the greatest common divisor
}

/** An int8 matrix as the forward pass takes it. */
export function packQuantized(w: QuantizedRows): Packed {
  return {
    matmul: (xout, x) => matmul(xout, x, w),
    // runq.c dequantizes the whole table when it loads; one row a token is enough
    copyRow: (xout, row) => dequantize(w, xout, row * w.n),
  };
}
