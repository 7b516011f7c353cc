/*
 * The native addon: where it is, what it exports (native/addon/), and how it is loaded.
 */
import { packagePath } from "../../files/packageFolder.ts";
import type { Config } from "../../llama2/transformer.ts";
import type { MatrixName } from "../../llama2/weights.ts";
import { buildCommand } from "../buildCommand.ts";
import { type Fillable, loadNative } from "../native.ts";

/** Where `npm run build:native` puts it. */
export const ADDON_PATH = packagePath("build", "Release", "llama2_cpu.node");

/** Weights and threads. */
export interface NativeModel extends Fillable {
  /** The most entries that one call of `forward` takes. */
  readonly maxBatch: number;
  dispose(): void;
}

/** Sequences being read. It keeps its model alive. */
export interface NativeContext {
  /**
   * entries: (count, 3) token, position, sequence; logits: (wanted, vocabSize), of the last `wanted`; threads: how many of
   * the model's threads to use. Returns for how many milliseconds one of them waited for a late one.
   */
  forward(entries: Int32Array, count: number, wanted: number, logits: Float32Array, threads: number): number;
  /** draws: (count, 3) temperature, top-p, coin; tokens: (count), of the first `count` rows of logits */
  sample(logits: Float32Array, draws: Float32Array, count: number, tokens: Int32Array, threads: number): void;
  /**
   * running: (count, 4) token, position, sequence, stop; choices: (count, 2) temperature, top-p; states: (count), of the
   * generators; logits: (count, vocabSize), scratch; tokens: (most, count). Ends after `most` steps or `milliseconds`, or
   * with the first sequence that meets its stop or logits that are not finite, whose token is -1. Returns the number of
   * steps; spent: (2) the milliseconds for which a thread waited for a late one, and those that choosing took.
   */
  decode(
    running: Int32Array,
    choices: Float32Array,
    states: BigUint64Array,
    count: number,
    most: number,
    milliseconds: number,
    logits: Float32Array,
    tokens: Int32Array,
    spent: Float64Array,
    threads: number,
  ): number;
  /** the first `positions` positions of a sequence, into another */
  copy(from: number, to: number, positions: number): void;
  /** keys, values: (nLayers, kvDim), of a position */
  trace(sequence: number, pos: number, keys: Float32Array, values: Float32Array): void;
  dispose(): void;
}

export interface Addon {
  /** The instruction sets that can be chosen on this machine, the best last. */
  isas(): string[];
  /** Bytes that a model, each sequence of a context, and the rest of a context take. */
  estimateMemory(
    config: Config,
    sharedClassifier: boolean,
    groupSizes: Record<MatrixName, number>,
    threads: number,
  ): { weights: number; perSequence: number; scratch: number };
  /** Bytes a second at which `threads` threads read `bytes` of memory (1 KiB to 1 GiB), measured for `seconds`. */
  readBandwidth(bytes: number, threads: number, seconds: number): number;
  Model: new (
    config: Config,
    sharedClassifier: boolean,
    groupSizes: Record<MatrixName, number>, // 0: float32
    frequencies: Float32Array, // (headSize / 2) of RoPE
    isa: string,
    threads: number,
  ) => NativeModel;
  Context: new (model: NativeModel, sequences: number) => NativeContext;
}

/**
 * Load the addon at `path`, after a child process has tried that it loads.
 * @throws Llama2Error E_DEVICE_UNAVAILABLE with the reason
 */
export function loadAddon(path: string = ADDON_PATH): Addon {
  return loadNative({ what: "the native addon", path, command: buildCommand("native") });
}
