/*
 * int8: what runq.c adds to run.c, in its words.
 *
 * Generating a token takes one pass over all weights, and a large model spends most of that time waiting for memory. An
 * int8 weight takes a quarter of the bytes of a float32 one: a quarter of the file, of the memory and of the waiting.
 *
 * One byte holds only -127..127, so numbers need a scale. A *group* is a run of neighbouring numbers that share one:
 * number = q * scale, where the scale maps the group's largest number to 127. The error is then at most half a scale.
 * Small groups are more precise but need more scales; 64 is usual. With one scale for a whole tensor, its largest number
 * would decide how coarsely all others are rounded.
 *
 * The activations are rounded to int8 as well, group by group, right before each matmul. Then the products of a group
 * are products of integers, which add up exactly, and only the group's sum becomes float32:
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
 * runq.c 145: quantize. Round the activations x to int8, into qx. If the group size does not divide their number, the
 * last group is shorter. A group of zeros has the scale 0, and 0 / 0, which is NaN, is stored as 0.
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
 * A row is summed in pieces. A piece lies within one group of w and one group of x. If the group size divides n, the
 * pieces are the groups. If not, w's groups straddle rows while those of x start at 0, so pieces end at the boundaries
 * of both. (runq.c does not split there, and uses wrong scales.)
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
 * The number of columns that a matmul can sum at a time in all rows: every group of w and of x ends at a multiple of it.
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
