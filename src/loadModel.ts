/*
 * Loading a model where there are files and workers: in Node.
 */
import { join } from "node:path";
import { type CudaOptions, KV_PRECISIONS, misplaced, PRECISIONS } from "./backend/cuda/options.ts";
import { BACKENDS, type BackendName } from "./backend/names.ts";
import { checkOneOf, checkOptions, checkSignal, checkWhole, show, usage } from "./check.ts";
import { type FoundTokenizer, findTokenizer, namedTokenizer, PACKAGE_MODELS } from "./checkpoint/tokenizer/find.ts";
import type { BytesLike } from "./files/bytes.ts";
import { pathOf } from "./files/path.ts";
import { Model } from "./model.ts";
import { Client } from "./run/client.ts";
import { startWorker } from "./run/startWorker.ts";

/** The model that comes with the package. */
export const BUNDLED_MODEL: string = join(PACKAGE_MODELS, "stories2M.bin");

export interface LoadOptions extends CudaOptions {
  /** Which machine computes. A named one never falls back. @default "auto": the best that works here */
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
  /** Stops loading. */
  signal?: AbortSignal;
  /** In a browser: the URL of a copy of the package's folder `dist/browser`, where no bundler finds what is in it. */
  assets?: string | URL;
}

const OPTIONS: readonly (keyof LoadOptions)[] = [
  "backend",
  "tokenizer",
  "threads",
  "context",
  "signal",
  "precision",
  "kvPrecision",
  "device",
  "assets",
];

/**
 * Load a model, in a thread of its own.
 * @param path of its file, or a `file:` URL; in a browser its URL, a Blob or its bytes. Default, but not in a browser: the
 *   small model that comes with the package
 * @throws Llama2Error E_USAGE, E_FILE, E_FORMAT, E_LIMIT, E_DEVICE_UNAVAILABLE, E_DEVICE_OOM, E_DEVICE_LOST; the
 *   signal's reason
 */
export async function loadModel(
  path: string | URL | BytesLike = BUNDLED_MODEL,
  options: LoadOptions = {},
): Promise<Model> {
  if (typeof path === "object" && path !== null && !(path instanceof URL)) {
    usage(`the model's path is ${show(path)}. Options come second: loadModel(undefined, { ... })`);
  }
  const file = pathOf("the model", path);
  checkOptions("loadModel", options, OPTIONS);
  const { backend = "auto", tokenizer: named, threads = 0, context = 0, signal } = options;
  const { precision, kvPrecision, device } = options;
  checkOneOf("backend", backend, ["auto", ...BACKENDS]);
  checkWhole("threads", threads, 0, 1024);
  checkWhole("context", context, 0, 2 ** 31 - 1);
  checkSignal(signal);
  checkCuda(backend, { precision, kvPrecision, device });
  const tokenizerFile = typeof named === "string" || named instanceof URL ? pathOf("the tokenizer", named) : named;
  if (tokenizerFile !== undefined && tokenizerFile !== null && typeof tokenizerFile !== "string") {
    usage(`tokenizer is ${show(named)}, expected a path, a file: URL, or null`);
  }
  signal?.throwIfAborted();
  const start = performance.now();
  let found: FoundTokenizer | undefined;
  // while the worker reads the weights, read the tokenizer
  const onOpened = async (vocabSize: number) => {
    if (typeof tokenizerFile === "string") found = await namedTokenizer(tokenizerFile, vocabSize);
    else if (tokenizerFile === undefined) found = await findTokenizer(file, vocabSize);
  };
  // every backend computes in the file's own precision or in int8; another one is cuda's
  const isCommon = precision === "int8" || (precision === "fp32" && backend !== "cuda");
  const own = { precision: isCommon ? undefined : precision, kvPrecision, device };
  const setup = { path: file, backend, threads, context, int8: precision === "int8", own };
  const { client, info } = await Client.load(startWorker(), setup, onOpened, signal);
  const notes = found?.note === undefined ? info.notes : [...info.notes, found.note];
  return new Model(client, { ...info, notes }, found?.tokenizer, performance.now() - start);
}

/** @throws Llama2Error E_USAGE for what cuda does not know, and for what another backend does not understand */
function checkCuda(backend: BackendName | "auto", options: CudaOptions): void {
  const { precision = "fp32", kvPrecision = "fp32", device = 0 } = options;
  checkOneOf("precision", precision, PRECISIONS);
  checkOneOf("kvPrecision", kvPrecision, KV_PRECISIONS);
  checkWhole("device", device, 0, 1023);
  const why = misplaced(backend, options);
  if (why) usage(why);
}
