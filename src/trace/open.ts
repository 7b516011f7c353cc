/*
 * Opens a model for tracing, in Node.
 */

import { checkOneOf, checkOptions, checkWhole } from "../check.ts";
import { asInt8 } from "../checkpoint/int8.ts";
import { open } from "../checkpoint/open.ts";
import { findTokenizer, namedTokenizer } from "../checkpoint/tokenizer/find.ts";
import { filesAt } from "../files/disk.ts";
import { modelName } from "../files/modelName.ts";
import { packagePath } from "../files/packageFolder.ts";
import { pathOf } from "../files/path.ts";
import type { WeightSource } from "../llama2/weights.ts";
import { TracedModel } from "./model.ts";

export interface OpenOptions {
  /** The tokenizer's file. null: none is needed. @default the one that fits, beside the model or in the package */
  tokenizer?: string | URL | null;
  /** Positions a sequence can have at most. @default what the model was made for */
  context?: number;
  /** int8: round the weights while they are read. @default the file's own */
  precision?: "fp32" | "int8";
}

const OPTIONS: readonly (keyof OpenOptions)[] = ["tokenizer", "context", "precision"];

/**
 * Open a model for tracing. It computes with the reference, in the caller's thread.
 * @param path of its file or folder, or a `file:` URL. @default the model that comes with the package
 * @throws Llama2Error E_USAGE, E_FILE, E_FORMAT, E_LIMIT
 * @example
 * const model = await openTrace();
 * const run = model.run("Once upon a time");
 * console.log(run.values(3, { id: "probs", layer: 2 })); // (heads, 4): how much each head looks at each position
 */
export async function openTrace(path: string | URL = BUNDLED, options: OpenOptions = {}): Promise<TracedModel> {
  checkOptions("openTrace", options, OPTIONS);
  const { tokenizer: named, context = 0, precision } = options;
  checkWhole("context", context, 0, 2 ** 31 - 1);
  checkOneOf("precision", precision ?? "fp32", ["fp32", "int8"]);
  const file = pathOf("the model", path);
  return withWeights(file, precision, async (source) => {
    const tokenizer = named === null ? undefined : await tokenizerOf(file, named, source.config.vocabSize);
    return TracedModel.load(modelName(file), source, tokenizer, context);
  });
}

/** The model that comes with the package. */
export const BUNDLED: string = packagePath("models", "stories2M.bin");

/**
 * The file of a model's tokenizer; undefined if it is inside the model.
 * @throws Llama2Error E_FILE, E_FORMAT if one of them is invalid, or they do not fit each other
 */
export async function tokenizerPath(model: string, named: string | undefined): Promise<string | undefined> {
  return withWeights(model, undefined, async ({ config: { vocabSize } }) => {
    const { path } =
      named === undefined ? await findTokenizer(model, vocabSize) : await namedTokenizer(named, vocabSize);
    return path === model ? undefined : path;
  });
}

/** Call a function with the weights of the model at `path`; the file is closed afterwards. */
export async function withWeights<T>(
  path: string,
  precision: "fp32" | "int8" | undefined,
  work: (source: WeightSource) => Promise<T>,
): Promise<T> {
  const checkpoint = await open(filesAt(path));
  try {
    return await work(precision === "int8" ? asInt8(checkpoint) : checkpoint);
  } finally {
    checkpoint.close();
  }
}

async function tokenizerOf(model: string, named: string | URL | undefined, vocabSize: number) {
  const found =
    named === undefined
      ? await findTokenizer(model, vocabSize)
      : await namedTokenizer(pathOf("the tokenizer", named), vocabSize);
  return found.tokenizer;
}

/** The name of a file or folder, without a model's extension. */
