/*
 * From a float32 checkpoint to an int8 one, a quarter of its size.
 */
import { existsSync, realpathSync } from "node:fs";
import { Llama2Error } from "../errors.ts";
import { defaultGroupSize } from "../llama2/quantize.ts";
import { isVector } from "../llama2/weights.ts";
import { type Header, MAX_GROUP_SIZE } from "./llama2c/header.ts";
import { locateTensors } from "./llama2c/tensors.ts";
import { type WriteOptions, writeCheckpoint } from "./llama2c/write.ts";
import { openFile } from "./openFile.ts";

export interface QuantizeOptions extends WriteOptions {
  /** How many weights share a scale. Default: 64, halved until it divides dim and hiddenDim. */
  groupSize?: number;
}

/**
 * Read the float32 checkpoint `inPath` and write its weights as int8, a version-2 checkpoint, to `outPath`.
 * @returns the header of what was written
 * @throws Llama2Error E_USAGE for a group size that is none or does not divide every matrix, E_FILE, E_FORMAT,
 *   E_NUMERIC for weights that are not finite; the signal's reason
 */
export async function quantize(
  inPath: string,
  outPath: string,
  { groupSize, ...options }: QuantizeOptions = {},
): Promise<Header> {
  const checkpoint = await openFile(inPath);
  try {
    if (checkpoint.header.groupSize !== 0) throw new Llama2Error("E_USAGE", `${inPath} is int8 already`);
    if (existsSync(outPath) && realpathSync(outPath) === realpathSync(inPath)) {
      throw new Llama2Error("E_USAGE", `${outPath} would replace the float32 model that it is made from`);
    }
    if (groupSize !== undefined) checkGroupSize(groupSize, checkpoint.header, inPath);
    const header: Header = {
      ...checkpoint.header,
      version: 2,
      groupSize: groupSize ?? defaultGroupSize(checkpoint.config),
    };
    await writeCheckpoint(outPath, header, checkpoint, options);
    return header;
  } finally {
    checkpoint.close();
  }
}

/** @throws Llama2Error E_USAGE */
function checkGroupSize(groupSize: number, header: Header, path: string): void {
  if (!Number.isInteger(groupSize) || groupSize < 1 || groupSize > MAX_GROUP_SIZE) {
    throw new Llama2Error(
      "E_USAGE",
      `the group size is ${groupSize}, expected a whole number from 1 to ${MAX_GROUP_SIZE}`,
    );
  }
  for (const { name, size } of locateTensors(header, path).tensors) {
    if (!isVector(name) && size % groupSize !== 0) {
      throw new Llama2Error("E_USAGE", `groups of ${groupSize} do not divide the ${size} numbers of ${name}`);
    }
  }
}
