/*
 * What a job is: work that can pause.
 */
import type { Context } from "../backend/backend.ts";
import type { Output, Timings } from "./protocol.ts";

/** Work in progress. */
export interface Job {
  /** Do it, and yield wherever it may pause. */
  run(): Generator<void, void>;
  /** Take what has come out since the last call. */
  take(): Output;
  /** Where the time of a generation went; final once `run` has ended, in whatever way. */
  readonly timings?: Omit<Timings, "loadMs">;
}

/** What a job works with. */
export interface Machine {
  context: Context;
  sequences: number; // that the context has room for
  vocabSize: number;
  maxBatch: number; // the most tokens in a pass
}
