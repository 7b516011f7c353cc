/*
 * The format of a measurement: the JSON of `llama2 bench`.
 */
import type { Precision } from "../backend/cuda/options.ts";
import type { BackendName } from "../backend/names.ts";
import type { MachineFacts } from "../host/facts.ts";
import type { Receipt } from "../receipt.ts";
import type { Swept } from "./sweep.ts";

/** How a measurement is printed. */
export const FORMATS = ["table", "md", "csv", "jsonl", "json"] as const;
export type BenchFormat = (typeof FORMATS)[number];

/** Statistics of several runs, which alternate with the runs of all other rows. */
export interface Spread {
  median: number;
  min: number;
  max: number;
  runs: number[];
}

/** One test of a model on a backend, or of another program. */
export interface Row {
  model: string;
  /** Of another program: its name. */
  backend: BackendName | (string & {});
  precision: Precision;
  /** Absent for another program, which has its own. */
  threads?: number;
  /** How many sequences are read at once. */
  batch: number;
  /** "pp128": reading a prompt of 128 tokens; "tg128": 128 new tokens, greedy. */
  test: string;
  promptTokens: number;
  newTokens: number;
  /** pp: prompt tokens a second. tg: new tokens a second, of all sequences together. */
  tokensPerSecond: Spread;
  /** tg of one sequence: llama2.c's figure, positions after the first pass by the time since. */
  achieved?: number;
  /** Of this model on this backend, once. */
  loadMs?: number;
  /** pp: from the request to the first new token. */
  firstTokenMs?: number;
  /** tg of one sequence: tokens a second over the first and the last 32 positions. */
  first32?: number;
  last32?: number;
  /** Bytes per token: weights, and on average half of the keys and values, divided by the tokens of a pass. */
  bytesPerToken?: number;
  gbPerSecond?: number;
  percentOfBandwidth?: number;
  speedupOverTs?: number;
  /** Peak memory of the process that measured this model on this backend. */
  peakBytes?: number;
  /** Of the tokens of the first sequence, as little-endian int32. */
  tokensSha256?: string;
  /** On exact backends: of the logits that the tokens of the first sequence were chosen from, as little-endian float32. */
  logitsSha256?: string;
  /** Whether it generated the same tokens as the other rows of the same work. */
  counts: boolean;
  why?: string;
  /**
   * tg of one sequence, of a model from a file, on exact backends: the same tokens, guessing ahead as `llama2 MODEL`
   * does. Each run learns from the table beside the model and from its own output only.
   */
  lookahead?: {
    /** Of the tokens that were guessed. */
    hitRate: number;
    tokensPerPass: number;
    tokensPerSecond: { off: number; on: number };
  };
  /** Of the first sequence, if asked for: what `verify` needs to repeat the work. Exact backends only. */
  receipt?: Receipt;
}

/** Memory bandwidth, measured in the same run: a sweep over as many bytes as a token reads, with as many threads. */
export interface Bandwidth {
  /** "cpu", "cuda", or of several GPUs "cuda 1". */
  device: string;
  threads: number;
  bytes: number;
  gbPerSecond: number;
  /** How it was measured. On a GPU memory is copied, and counts twice: as read and as written. */
  by: Swept["by"];
}

export interface BenchResult {
  bench: 1;
  version: string;
  commit?: string;
  date: string;
  machine: MachineFacts;
  /** Why these figures may be unreliable: load, throttling, quotas, spread. */
  warnings: string[];
  bandwidth: Bandwidth[];
  rows: Row[];
  skipped: { what: string; reason: string }[];
  /** Ctrl-C ended it early. */
  interrupted?: true;
}

/** Median, least and largest. @param runs at least one */
export function spreadOf(runs: readonly number[]): Spread {
  const sorted = [...runs].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  return { median, min: sorted[0], max: sorted[sorted.length - 1], runs: [...runs] };
}
