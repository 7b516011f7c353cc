/*
 * Two traces of one token, side by side. Runs in browsers.
 */
import { checkThat } from "../check.ts";
import { checkStops, type Stop } from "./run.ts";
import { nameOf, type Place } from "./stops.ts";

/** How far apart two traces are at a stop that both have. */
export interface StopDiff extends Place {
  maxAbs: number;
  /** The largest distance between two values, in float32 numbers (units in the last place). */
  maxUlp: number;
  /** The largest magnitude of the first trace, to see what a difference is relative to. */
  scale: number;
}

export interface TraceDiff {
  /** The first stop whose values differ by more than the tolerance: "L2.v". */
  firstDivergent?: string;
  stops: StopDiff[];
}

/**
 * Compare the tensors that both traces have. Those that one lacks, because its backend fuses lines, are skipped.
 * @param tolerance how far apart values may be, relative to the stop's largest; 0: bit for bit
 */
export function diff(a: readonly Stop[], b: readonly Stop[], tolerance: number): TraceDiff {
  checkStops(a);
  checkStops(b);
  checkThat("tolerance", tolerance, typeof tolerance === "number" && tolerance >= 0, "a number from 0 on");
  const others = new Map(b.map((stop) => [nameOf(stop), stop]));
  const stops: StopDiff[] = [];
  let firstDivergent: string | undefined;
  for (const stop of a) {
    const pairs = stop.tensors.flatMap(({ name, values }) => {
      const other = others.get(nameOf(stop))?.tensors.find((tensor) => tensor.name === name);
      return other ? [{ values, other: other.values }] : [];
    });
    if (pairs.length === 0) continue;
    const apart = { id: stop.id, layer: stop.layer, maxAbs: 0, maxUlp: 0, scale: 0 };
    for (const { values, other } of pairs) measure(apart, values, other);
    stops.push(apart);
    const isApart = tolerance === 0 ? apart.maxUlp > 0 : !(apart.maxAbs <= tolerance * apart.scale);
    if (isApart) firstDivergent ??= nameOf(stop);
  }
  return { firstDivergent, stops };
}

function measure(apart: StopDiff, a: Float32Array, b: Float32Array): void {
  const [ordersA, ordersB] = [ordersOf(a), ordersOf(b)];
  for (let i = 0; i < a.length; i++) {
    apart.scale = Math.max(apart.scale, Math.abs(a[i]));
    if (ordersA[i] === ordersB[i]) continue;
    apart.maxUlp = Math.max(apart.maxUlp, Math.abs(ordersA[i] - ordersB[i]));
    // infinity - infinity is NaN, as is any difference with NaN
    const distance = Math.abs(a[i] - b[i]);
    apart.maxAbs = Number.isNaN(distance) ? Infinity : Math.max(apart.maxAbs, distance);
  }
}

/** Numbers all float32 values in order: neighbours differ by 1, and so do -0 and 0. */
function ordersOf(values: Float32Array): Float64Array {
  const bits = new Int32Array(values.slice().buffer);
  return Float64Array.from(bits, (bit) => (bit < 0 ? -(bit & 0x7fffffff) - 1 : bit));
}
