/*
 * How fast the memory of this machine is read.
 */

import { loadAddon } from "../backend/cpu/addon.ts";
import { processors } from "../backend/processors.ts";

/** A buffer beyond every cache, whose reading takes no longer than it must. */
export const MOST_SWEPT = 2 ** 30;
const LEAST_SWEPT = 2 ** 10;

/**
 * GB/s of a sweep over `bytes`, of which at most a GiB is taken, by so many threads.
 * @throws Llama2Error E_DEVICE_UNAVAILABLE without the native addon
 */
export function readBandwidth(bytes: number, threads = processors(), seconds = 0.3): number {
  const swept = Math.round(Math.max(LEAST_SWEPT, Math.min(MOST_SWEPT, bytes)));
  return loadAddon().readBandwidth(swept, threads, seconds) / 1e9;
}
