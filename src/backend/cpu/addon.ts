/*
 * The native addon: where it lies, what it exports (native/addon/), and how it is loaded.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { Llama2Error } from "../../errors.js";
import type { Config } from "../../llama2/transformer.js";
import { probe } from "../probe.js";

/** Where `npm run build:native` puts it. */
export const ADDON_PATH = fileURLToPath(new URL("../../../build/Release/llama2_cpu.node", import.meta.url));

/** Weights and threads. */
export interface NativeModel {
  /** The most entries that one call of `forward` takes. */
  readonly maxBatch: number;
  fill(name: string, layer: number, values: Float32Array, offset: number): void;
  fillQuantized(name: string, layer: number, values: Int8Array, scales: Float32Array, offset: number): void;
  dispose(): void;
}

/** Sequences being read. It keeps its model alive. */
export interface NativeContext {
  /** The cosines and sines of a position, (headSize / 2) each, before anything is read there. */
  setAngles(pos: number, fcr: Float32Array, fci: Float32Array): void;
  /** entries: (count, 3) token, position, sequence; logits: (wanted, vocabSize), of the last `wanted` */
  forward(entries: Int32Array, count: number, wanted: number, logits: Float32Array): void;
  /** draws: (count, 3) temperature, top-p, coin; tokens: (count), of the first `count` rows of logits */
  sample(logits: Float32Array, draws: Float32Array, count: number, tokens: Int32Array): void;
  dispose(): void;
}

export interface Addon {
  /** The instruction sets that can be chosen on this machine, the best last. */
  isas(): string[];
  Model: new (
    config: Config,
    sharedClassifier: boolean,
    groupSize: number, // 0: float32
    isa: string,
    threads: number,
  ) => NativeModel;
  Context: new (model: NativeModel, sequences: number) => NativeContext;
}

/**
 * Load the addon at `path`, after a child process has tried whether that works.
 * @throws Llama2Error E_DEVICE_UNAVAILABLE with the reason
 */
export function loadAddon(path: string = ADDON_PATH): Addon {
  if (!existsSync(path)) {
    throw new Llama2Error(
      "E_DEVICE_UNAVAILABLE",
      "the native addon has not been built: `npm run build:native` builds it",
    );
  }
  const unusable = (code: string, reason: string) =>
    new Llama2Error(
      "E_DEVICE_UNAVAILABLE",
      `the native addon ${path} does not load here (${code}: ${reason}): \`npm run build:native\` builds it anew`,
    );
  const { ok, code, reason } = probe(path);
  if (!ok) throw unusable(code, reason);
  try {
    return createRequire(import.meta.url)(path);
  } catch (error) {
    const { code = "EXIT", message } = error as NodeJS.ErrnoException;
    throw unusable(code, message.split("\n")[0]);
  }
}
