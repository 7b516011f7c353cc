/*
 * The model's matrices, and what the forward pass does with them. Whether they are float32 or int8 is known here only.
 */
import * as float32 from "./matmul";
import { groupSize } from "./model";
import * as int8 from "./quantize";
import { barrier } from "./team";

/** The bytes of a matrix of d rows and n columns. */
export function weightBytes(d: i32, n: i32): usize {
  return groupSize === 0 ? float32.matrixBytes(d, n) : int8.int8Bytes(d, n);
}

/** xout (n) = row i of w (d, n) */
export function copyRow(xout: usize, w: usize, i: i32, n: i32, d: i32): void {
  if (groupSize === 0) float32.copyRow(xout, w, i, n);
  else int8.copyRow(xout, w, i, n, d);
}

/**
 * The threads have written their shares of x (count, n), and all of them will read all of it: the next calls of
 * matmul take this x, and no other.
 */
export function share(x: usize, n: i32, count: i32): void {
  barrier();
  if (groupSize === 0) return;
  int8.quantize(x, n, count);
  barrier();
}

/** run.c 217: matmul. w (d, n) @ x (n) -> xout (d), for `count` rows of x; of the rows of w this thread's share. */
export function matmul(xout: usize, x: usize, w: usize, n: i32, d: i32, count: i32): void {
  if (groupSize === 0) float32.matmul(xout, x, w, n, d, count);
  else int8.matmul(xout, w, n, d, count);
}
