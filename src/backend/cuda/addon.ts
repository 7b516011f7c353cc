/*
 * The CUDA addon: where it is, and what it exports (native/cuda/addon/).
 */
import { existsSync } from "node:fs";
import { packagePath } from "../../files/packageFolder.ts";
import type { Config } from "../../llama2/transformer.ts";
import { buildCommand } from "../buildCommand.ts";
import { type Fillable, loadNative } from "../native.ts";
import { hasDriver } from "./driver.ts";
import type { KvPrecision, Precision } from "./options.ts";

/** Where `npm run build:cuda` puts it. */
export const CUDA_ADDON_PATH = packagePath("build-cuda", "Release", "llama2_cuda.node");

export interface Device {
  name: string;
  compute: string; // "9.0"
  totalBytes: number;
}

/** How a model is stored on a device. */
export interface NativeOptions {
  precision: Precision; // of the matrices
  groupSize: number; // how many weights share a scale, in the source or on the device; 0: neither is int8
  kvPrecision: KvPrecision;
  sharedClassifier: boolean;
  device: number;
}

/** Weights on a device. */
export interface NativeModel extends Fillable {
  dispose(): void;
}

/** Sequences being read. It keeps its model alive. */
export interface NativeContext {
  /** The most entries of one `forward`, and sequences of one `decode`. */
  readonly maxBatch: number;
  /** The most steps of one `decode`. */
  readonly maxSteps: number;
  /** entries: (count, 3) token, position, sequence; logits: (wanted, vocabSize), of the last `wanted` */
  forward(entries: Int32Array, count: number, wanted: number, logits: Float32Array): void;
  /**
   * Let sequences decode `steps` tokens; does not wait.
   * entries: (count, 4) token, position, sequence, stop; choices: (count, 2) temperature, top-p; states: (count)
   */
  decode(entries: Int32Array, choices: Float32Array, states: BigUint64Array, count: number, steps: number): void;
  /** Wait for one step of `decode`. tokens: (count), -1 for sequences that have ended */
  tokens(step: number, tokens: Int32Array): void;
  /** Wait for all steps, and write the generators' states: (count). */
  finish(states: BigUint64Array): void;
  /** Copy the first `positions` positions of the KV cache of sequence `from` to sequence `to`. */
  copy(from: number, to: number, positions: number): void;
  /** Choose from row `row` of logits, and draw from the generator with the state states[0]. */
  sample(logits: Float32Array, row: number, temperature: number, topp: number, states: BigUint64Array): number;
  dispose(): void;
}

export interface CudaAddon {
  /** At least one; otherwise it throws an error with the code E_DEVICE_UNAVAILABLE that says why. */
  devices(): Device[];
  /** Free memory in bytes. */
  freeMemory(device: number): number;
  /** Bytes that a model and a context with `slots` slots take. */
  estimateMemory(config: Config, options: NativeOptions, slots: number): { weights: number; context: number };
  /** Bytes a second, read and written, at which a device copies `bytes` of its memory, measured for `seconds`. */
  copyBandwidth(device: number, bytes: number, seconds: number): number;
  Model: new (
    config: Config,
    options: NativeOptions,
    frequencies: Float32Array, // (headSize / 2) of RoPE
  ) => NativeModel;
  Context: new (model: NativeModel, slots: number) => NativeContext;
}

/**
 * Load the addon at `path`, after a child process has tried that it loads. It loads without a driver, too.
 * @throws Llama2Error E_DEVICE_UNAVAILABLE with the reason
 */
export function loadCudaAddon(path: string = CUDA_ADDON_PATH): CudaAddon {
  return loadNative({ what: "the CUDA addon", path, command: buildCommand("cuda") });
}

/** Why `auto` need not try cuda, known from files alone; "" if it has not been built, which is not worth a note. */
export function whyNotCuda(): string | undefined {
  if (!existsSync(CUDA_ADDON_PATH)) return "";
  return hasDriver() ? undefined : "the CUDA addon has been built, but there is no NVIDIA driver";
}
