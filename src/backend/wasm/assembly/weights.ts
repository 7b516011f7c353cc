/*
 * The model's matrices, and what the forward pass does with them. Whether they are float32 or int8 is known here only.
 */
import * as float32 from "./matmul";
import * as int8 from "./quantize";
import { barrier } from "./team";

/** The bytes of a matrix of d rows and n columns. */
export function weightBytes(d: i32, n: i32, groupSize: i32): usize {
  return groupSize === 0 ? float32.matrixBytes(d, n) : int8.int8Bytes(d, n, groupSize);
}

/** xout (n) = row i of w (d, n) */
export function copyRow(xout: usize, w: usize, i: i32, n: i32, d: i32, groupSize: i32): void {
  if (groupSize === 0) float32.copyRow(xout, w, i, n);
  else int8.copyRow(xout, w, i, n, d, groupSize);
}

/** xq holds the x that was shared last, in groups of so many numbers; 0: not yet. */
let rounded: i32 = 0;

/**
 * The threads have written their shares of x, and all of them will read all of it: the next calls of matmul take this
 * x, and no other. The first that has an int8 matrix rounds it.
 */
export function share(): void {
  barrier(); // and no thread reads xq any more
  rounded = 0;
}

/** The same of `count` rows that the threads share; a single one has been made by each for itself. */
export function shareRows(count: i32): void {
  if (count > 1) barrier();
  rounded = 0;
}

/**
 * run.c 217: matmul. w (l, d, n) @ x (n) -> xout (d), for `count` rows of x; of the rows of w this thread's share. w is
 * float32 (groupSize 0), or int8 in groups of groupSize numbers.
 */
export function matmul(xout: usize, x: usize, w: usize, l: i32, n: i32, d: i32, count: i32, groupSize: i32): void {
  w += l * weightBytes(d, n, groupSize);
  if (groupSize === 0) return float32.matmul(xout, x, w, n, d, count);
  if (rounded !== groupSize) {
    if (rounded !== 0 && count > 1) barrier(); // no thread reads xq any more
    int8.quantize(x, n, count, groupSize);
    if (count > 1) barrier(); // xq
    rounded = groupSize;
  }
  int8.matmul(xout, w, n, d, count, groupSize);
}
