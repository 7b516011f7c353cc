/*
 * The messages between the model's thread and its caller.
 */
import type { CudaOptions } from "../backend/cuda/options.ts";
import type { BackendName } from "../backend/names.ts";
import type { ErrorCode, Remedy } from "../errors.ts";
import type { Config } from "../llama2/transformer.ts";
import type { ModelInfo } from "../modelInfo.ts";
import type { GuessEntries } from "./guessFile.ts";

/** How far a sequence guesses ahead: as far as it pays, never, or up to this many tokens. */
export type Lookahead = "auto" | "off" | number;

/** The model that a thread is for. */
export interface Setup {
  path: string; // in a page: the model's name, for messages
  progress: boolean; // whether to report the progress of loading
  backend: BackendName | "auto";
  threads: number; // 0: the backend's choice
  context: number; // 0: the model's
  int8: boolean; // round the matrices to int8 while loading
  own: CudaOptions; // what only one backend understands
  /** The most tokens that are guessed ahead; "auto": as many as pay. */
  lookahead: Lookahead;
  /** In a page, which has no paths: the model, and the URL of the WebAssembly kernels. */
  page?: { model: Blob; kernels: string };
}

/** How new tokens are chosen: run.c's sampler, the state of its random number generator, and what it lacks. */
export interface Sampling {
  temperature: number;
  topP: number;
  state: bigint; // never 0
  topK?: number; // 0: off
  minP?: number; // 0: off
  repetitionPenalty?: number; // 1: off
}

/**
 * A sequence of tokens to read and, with `sampling`, to continue. Texts, chat turns, logits and scores all use it.
 * `tokens` has at least one.
 */
export interface SequenceRequest {
  tokens: readonly number[];
  maxTokens: number; // new ones; tokens.length + maxTokens is at most the context + 1
  stops: readonly number[]; // each of them ends the sequence, and is not reported
  sampling?: Sampling; // absent: the tokens are only read
  /**
   * "tokens": new tokens. "logprobs": also the log-probability of each; without sampling, of each token read except the
   * first. "logits": also the row of logits that each was chosen from; without sampling, the row after each token read.
   */
  want: "tokens" | "logprobs" | "logits";
  /** With "logprobs": how each token was chosen, and this many alternatives, 0 or more. */
  top?: number;
  /** Without sampling: how many of the first tokens need no result. Where a slot holds them, they are not read. */
  skip?: number;
  /** Read one token in each pass, as run.c does. Default: as many as fit. */
  oneByOne?: boolean;
}

/** The results of one sequence in one slice of time. Prompt tokens are not among them. */
export interface Slice {
  sequence: number; // its index in the request
  tokens: number[]; // new ones, oldest first
  logprobs?: number[]; // natural logarithms, from the raw logits
  details?: TokenDetails[]; // one for each of `logprobs`
  logits?: Float32Array; // (rows, vocabSize)
  ended?: "stop" | "length" | "failed"; // this slice is its last
  state?: bigint; // of the generator, once it has ended
  error?: FailureInfo; // why it failed
  timings?: RequestTimings; // of its request so far, once it has ended
  guessed?: number[]; // which of `tokens`, by index, were guessed and read ahead
  ahead?: GuessCounts; // since it began; absent where nothing is guessed
}

/** How well the tokens of a sequence were guessed. */
export interface GuessCounts {
  /** Passes that read its newest token and guesses after it. Each gave one token, and one more for each right guess. */
  passes: number;
  /** Tokens that were read ahead. */
  guessed: number;
  /** Of these, the right ones. */
  accepted: number;
}

/** A token that could have been chosen. */
export interface Alternative {
  id: number;
  logprob: number;
}

/** How a token was chosen. */
export interface TokenDetails {
  rank: number; // how many tokens are likelier by the raw logits; on a tie, lower ids come first
  top: Alternative[]; // by the raw logits, the likeliest first
  nucleus?: number; // from how many tokens it was drawn; 1 if there was no choice. Absent: it was read
  coin?: number; // the random number in [0, 1) that chose it. Absent at temperature 0
}

/** Where the time of one request went, in milliseconds. */
export interface Timings {
  /** How long `loadModel` took; the same for all requests. */
  loadMs: number;
  /** From the request to its first new token. */
  firstTokenMs: number;
  /** Forward passes over the prompt. */
  prefillMs: number;
  /** Forward passes after that. */
  decodeMs: number;
  /** Choosing tokens. */
  sampleMs: number;
  /** run.c's figure: positions read after the prompt, by the time since the prompt was read. 0 if there are none. */
  tokensPerSecond: number;
}
export type RequestTimings = Omit<Timings, "loadMs">;

/** To the model's thread. The sequences of one request are started, reported and cancelled together. */
export type ToWorker =
  | { type: "load"; setup: Setup } // once, before all others
  | ({ type: "guesses" } & GuessEntries) // what usually comes next, before the first request
  | { type: "start"; id: number; sequences: readonly SequenceRequest[] }
  | { type: "cancel"; id: number } // nothing more comes for this request
  | { type: "end"; id: number; sequence: number } // end this sequence as if it had met a stop
  | { type: "close" };

/** An error as a message to the other thread. Without a code it is a bug. */
export interface FailureInfo {
  code: ErrorCode | undefined;
  message: string;
  stack?: string | undefined;
  remedy?: Remedy | undefined;
}

/** The results of a request since the last time, and where its time went so far. */
export interface Report {
  id: number;
  slices: Slice[];
  timings: RequestTimings;
  ended: boolean; // nothing more comes
}

/** From the model's thread. */
export type FromWorker =
  | { type: "opened"; vocabSize: number }
  | { type: "progress"; done: number; of: number } // numbers of the weights that have been read
  | {
      type: "loaded";
      config: Config;
      info: ModelInfo;
      backend: BackendName;
      isa: string;
      threads: number;
      notes: string[];
    }
  | { type: "loadFailed"; error: FailureInfo }
  | ({ type: "report" } & Report);
