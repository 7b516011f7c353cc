/*
 * Measures memory bandwidth: this machine's, and a GPU's.
 */
import { Worker } from "node:worker_threads";
import { loadAddon } from "../backend/cpu/addon.ts";
import { loadCudaAddon } from "../backend/cuda/addon.ts";
import { processors } from "../backend/processors.ts";
import { Llama2Error } from "../errors.ts";
import type { Part } from "./sweepWorker.ts";

/** What a sweep reads, again and again. */
export interface Sweep {
  /** A GPU's memory is copied, since that is its limit as NVIDIA's own tools measure it. */
  device: "cpu" | "cuda";
  /** Which GPU. @default 0 */
  index?: number;
  bytes: number;
  threads: number;
}

export interface Swept {
  gbPerSecond: number;
  /** How: without the native addon, the C library's memchr searches memory for a byte that is not there. */
  by: "reading" | "searching" | "copying";
}

/** The largest buffer, in bytes: larger than any cache, and still quick to read. */
export const MOST_SWEPT = 2 ** 30;
const LEAST_SWEPT = 2 ** 10;
const within = (bytes: number) => Math.round(Math.max(LEAST_SWEPT, Math.min(MOST_SWEPT, bytes)));

/**
 * The speed of a sweep, in GB/s. At most a GiB of its bytes is read, again and again.
 * @throws Llama2Error E_DEVICE_UNAVAILABLE without such a device
 */
export async function sweep({ device, index = 0, bytes, threads }: Sweep, seconds: number): Promise<Swept> {
  if (device === "cuda") {
    const copied = loadCudaAddon().copyBandwidth(index, within(bytes), seconds);
    return { gbPerSecond: copied / 1e9, by: "copying" };
  }
  try {
    return { gbPerSecond: readBandwidth(bytes, threads, seconds), by: "reading" };
  } catch (error) {
    if (!(error instanceof Llama2Error)) throw error;
    return { gbPerSecond: await searchBandwidth(bytes, threads, seconds), by: "searching" };
  }
}

/**
 * The speed, in GB/s, at which `threads` threads read a buffer of `bytes` (at most a GiB), again and again.
 * @throws Llama2Error E_DEVICE_UNAVAILABLE without the native addon
 */
export function readBandwidth(bytes: number, threads = processors(), seconds = 0.3): number {
  return loadAddon().readBandwidth(within(bytes), threads, seconds) / 1e9;
}

/** The same without the addon. */
export async function searchBandwidth(bytes: number, threads: number, seconds: number): Promise<number> {
  const memory = new SharedArrayBuffer(within(bytes));
  const ready = new SharedArrayBuffer(4);
  const length = Math.floor(memory.byteLength / threads);
  const parts = Array.from({ length: threads }, (_, i) => {
    return searched({ memory, offset: i * length, length, ready, threads, seconds });
  });
  return (await Promise.all(parts)).reduce((sum, bytesPerSecond) => sum + bytesPerSecond, 0) / 1e9;
}

/** The speed of one thread, in bytes a second. */
function searched(workerData: Part): Promise<number> {
  const worker = import.meta.url.endsWith(".ts")
    ? new Worker(new URL("./sweepWorker.ts", import.meta.url), { workerData })
    : new Worker(new URL("./sweepWorker.js", import.meta.url), { workerData });
  return new Promise((resolve, reject) => worker.on("message", resolve).on("error", reject));
}
