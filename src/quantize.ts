/*
 * Converts a float32 model to an int8 checkpoint, a quarter of its size.
 */
import { checkFunction, checkOptions, checkSignal } from "./check.ts";
import { checkGroupSize } from "./checkpoint/groupSize.ts";
import type { Header } from "./checkpoint/llama2c/header.ts";
import { type WriteOptions, writeCheckpoint } from "./checkpoint/llama2c/write.ts";
import { recognise } from "./checkpoint/open.ts";
import { Llama2Error } from "./errors.ts";
import { filesAt } from "./files/disk.ts";
import { checkReplacesNone } from "./files/outputFile.ts";
import { pathOf } from "./files/path.ts";
import { defaultGroupSize } from "./llama2/quantize.ts";
import { isVector, tensorsOf } from "./llama2/weights.ts";

export interface QuantizeOptions extends WriteOptions {
  /** How many weights share a scale. Default: 64, halved until it divides dim and hiddenDim. */
  groupSize?: number;
}

/**
 * Read the float32 model `from`, a file or a folder, and write its weights as int8, a version-2 checkpoint, to `to`.
 * Paths may be `file:` URLs.
 * @returns the header of what was written
 * @throws Llama2Error E_USAGE for a group size that is out of range or does not divide every matrix, E_FILE, E_FORMAT,
 *   E_NUMERIC for weights that are not finite; the signal's reason
 */
export async function quantize(from: string | URL, to: string | URL, options: QuantizeOptions = {}): Promise<Header> {
  const inPath = pathOf("the float32 model", from);
  const outPath = pathOf("the int8 model", to);
  checkOptions("quantize", options, ["groupSize", "onProgress", "signal"]);
  checkSignal(options.signal);
  checkFunction("onProgress", options.onProgress);
  const { groupSize, ...writing } = options;
  const { files, weights, close } = await recognise(filesAt(inPath));
  try {
    const model = weights();
    const { config, sharedClassifier } = model;
    const isInt8 = tensorsOf(model).some(({ name }) => !isVector(name) && model.formatOf(name) !== "float32");
    if (isInt8) throw new Llama2Error("E_USAGE", `${inPath} is int8 already`);
    checkReplacesNone(outPath, [inPath, ...files.map(({ name }) => name)]);
    if (groupSize !== undefined) checkGroupSize(groupSize, model, inPath);
    const header: Header = { version: 2, config, sharedClassifier, groupSize: groupSize ?? defaultGroupSize(config) };
    await writeCheckpoint(outPath, header, model, writing);
    return header;
  } finally {
    close();
  }
}
