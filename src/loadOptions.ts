/*
 * What a caller of loadModel may choose, in Node and in a page, and the check that it makes sense.
 */
import { type CudaOptions, KV_PRECISIONS, misplaced, PRECISIONS } from "./backend/cuda/options.ts";
import { BACKENDS, type BackendName } from "./backend/names.ts";
import { checkFunction, checkOneOf, checkOptions, checkSignal, checkThat, checkWhole, usage } from "./check.ts";
import type { BytesLike } from "./files/bytes.ts";
import type { Lookahead } from "./run/protocol.ts";

export { BACKENDS, type BackendName, type CudaOptions, KV_PRECISIONS, type Lookahead, misplaced, PRECISIONS };

/** The most tokens that can be guessed ahead: with the one that is known, a pass of sixteen. */
export const MAX_LOOKAHEAD = 15;

export interface LoadOptions extends CudaOptions {
  /** What computes. A named backend never falls back to another. @default "auto": the fastest that works here */
  backend?: BackendName | "auto";
  /**
   * The tokenizer's file, in a browser its URL or bytes. null: none is needed. @default the one that fits, beside the
   * model or in the package; in a browser the one inside the model
   */
  tokenizer?: string | URL | BytesLike | null;
  /** @default the backend's choice */
  threads?: number;
  /** Positions a sequence can have at most, to save memory. @default what the model was trained for */
  context?: number;
  /**
   * How many tokens are guessed ahead, 1 to 15, to be checked in one pass. The text is the same with any number of them.
   * @default "auto": as many as pay
   */
  lookahead?: Lookahead;
  /**
   * The file of a guess table, in a browser its URL or bytes. null: none. @default the one beside the model,
   * `STEM.guesses`; in a browser none
   */
  guesses?: string | URL | BytesLike | null;
  /** Stops loading. */
  signal?: AbortSignal;
  /**
   * Called as the weights are read: how many have been read, and of how many. Where a page fetches them from a URL first,
   * both are bytes: fetching counts as one half and reading as the other.
   */
  onProgress?: (done: number, of: number) => void;
  /** In a browser: the URL of a copy of the package's folder `dist/browser`, for bundlers that do not find its files. */
  assets?: string | URL;
}

/** The options in Node and in browsers. */
export const LOAD_OPTIONS: readonly (keyof LoadOptions)[] = [
  "backend",
  "tokenizer",
  "threads",
  "context",
  "signal",
  "onProgress",
  "precision",
  "lookahead",
  "guesses",
  "assets",
];

/** What can be chosen in one environment: Node, or a browser. */
export interface Choices {
  options: readonly (keyof LoadOptions)[];
  backends: readonly BackendName[];
  precisions: readonly string[];
}

/**
 * @returns what was chosen, with the defaults of what was not
 * @throws Llama2Error E_USAGE for what does not make sense
 */
export function checkLoadOptions(options: LoadOptions, { options: known, backends, precisions }: Choices) {
  checkOptions("loadModel", options, known);
  const { backend = "auto", threads = 0, context = 0, signal, onProgress, ...others } = options;
  const { precision, kvPrecision, device, lookahead = "auto" } = options;
  checkOneOf("backend", backend, ["auto", ...backends]);
  checkOneOf("precision", precision ?? "fp32", precisions);
  checkOneOf("kvPrecision", kvPrecision ?? "fp32", KV_PRECISIONS);
  checkWhole("device", device ?? 0, 0, 1023);
  checkWhole("threads", threads, 0, 1024);
  checkWhole("context", context, 0, 2 ** 31 - 1);
  if (typeof lookahead === "number") checkWhole("lookahead", lookahead, 1, MAX_LOOKAHEAD);
  else checkOneOf("lookahead", lookahead, ["auto", "off"]);
  checkSignal(signal);
  checkFunction("onProgress", onProgress);
  const { assets } = options;
  if (assets !== undefined) {
    checkThat("assets", assets, typeof assets === "string" || assets instanceof URL, "a URL");
  }
  const why = misplaced(backend, { precision, kvPrecision, device });
  if (why) usage(why);
  // every backend has the file's own precision and int8; only cuda has others
  const isCommon = precision === "int8" || (precision === "fp32" && backend !== "cuda");
  const own: CudaOptions = { precision: isCommon ? undefined : precision, kvPrecision, device };
  const progress = onProgress !== undefined;
  const setup = { backend, threads, context, progress, int8: precision === "int8", own, lookahead };
  return { ...others, setup, signal, onProgress };
}
