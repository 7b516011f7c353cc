/*
 * What the two ends of the worker say to each other.
 */
import type { BackendName, CudaOptions } from "../backend/backend.ts";
import type { ErrorCode, Remedy } from "../errors.ts";
import type { Config } from "../llama2/transformer.ts";

/** The model that a worker is for. */
export interface Setup {
  path: string;
  backend: BackendName | "auto";
  threads: number; // 0: the backend's choice
  context: number; // 0: the model's
  cuda: CudaOptions;
}

/**
 * Run the generation loop: read `tokens` from position `pos` on and write until `steps` or the token `stop`. For each
 * seed there is a story; those that fit into a batch are told at once.
 */
export interface GenerateRequest {
  type: "generate";
  tokens: readonly number[];
  pos: number;
  steps: number;
  stop: number;
  temperature: number;
  topP: number;
  seeds: readonly bigint[];
  logprobs: boolean;
}

/** Read `tokens` from position `pos` on; what comes out are the logits after each. */
export interface LogitsRequest {
  type: "logits";
  tokens: readonly number[];
  pos: number;
  batch: boolean; // as many tokens a pass as the backend takes, or one by one
}

/** Read `tokens` from position 0 on; what comes out is the log-probability of each but the first. */
export interface ScoreRequest {
  type: "score";
  tokens: readonly number[];
}

export type Request = GenerateRequest | LogitsRequest | ScoreRequest;

/** Tokens of one story that came in one slice of time, oldest first. */
export interface Slice {
  story: number;
  tokens: number[];
  /** Natural log-probabilities from the raw logits. NaN for tokens of the prompt, and unless asked for. */
  logprobs: number[];
  /** No more will come. */
  ended: boolean;
}

/** What comes out of a generate, logits or score request, piece by piece. */
export type Output = Slice[] | Float32Array | Float64Array;

/** Where the time of one generation went, in milliseconds. */
export interface Timings {
  /** From `loadModel` to a model that is ready; the same for all of its generations. */
  loadMs: number;
  /** From the request to the first new token. */
  firstTokenMs: number;
  /** Forward passes over the prompt. */
  prefillMs: number;
  /** Forward passes after that. */
  decodeMs: number;
  /** Choosing tokens. */
  sampleMs: number;
  /** run.c's figure: positions after the first forward call, by the time since it returned. 0 if there are none. */
  tokensPerSecond: number;
}

/** To the worker. Requests that name the same session share a context, which lives until the session ends. */
export type ToWorker =
  | { type: "load"; setup: Setup } // once, before all others
  | { type: "start"; id: number; session: number | undefined; request: Request }
  | { type: "cancel"; id: number }
  | { type: "endSession"; session: number }
  | { type: "close" };

/** An error on its way to the other thread. Without a code it is a bug, and `message` has the stack. */
export interface FailureInfo {
  code: ErrorCode | undefined;
  message: string;
  remedy?: Remedy | undefined;
}

/** From the worker. */
export type FromWorker =
  | { type: "opened"; vocabSize: number }
  | { type: "loaded"; config: Config; backend: BackendName; threads: number; notes: string[] }
  | { type: "loadFailed"; error: FailureInfo }
  | { type: "output"; id: number; output: Output }
  | { type: "done"; id: number; timings: Omit<Timings, "loadMs"> | undefined }
  | { type: "failed"; id: number; error: FailureInfo };
