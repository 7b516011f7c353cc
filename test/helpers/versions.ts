/*
 * The same seeded model as a file of each version.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeCheckpoint } from "../../src/checkpoint/llama2c/write.ts";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { quantize } from "../../src/quantize.ts";
import { type CheckpointOptions, checkpointFile, type Shape } from "./checkpoint.ts";
import { tempDir } from "./temp.ts";

export const VERSIONS = [0, 1, 2] as const;
export type Version = (typeof VERSIONS)[number];

export async function versionFile(
  version: Version,
  shape: Shape,
  { groupSize, ...options }: CheckpointOptions & { groupSize?: number } = {},
): Promise<string> {
  const source = checkpointFile(shape, options);
  if (version === 0) return source;
  const path = join(tempDir(), `version${version}.bin`);
  if (version === 2) {
    await quantize(source, path, { groupSize });
  } else {
    const checkpoint = await openFile(source);
    await writeCheckpoint(path, { ...checkpoint.header, version }, checkpoint);
    checkpoint.close();
  }
  return path;
}

/** A file with these bytes. */
export function fileOf(bytes: Uint8Array | string): string {
  const path = join(tempDir(), "model.bin");
  writeFileSync(path, bytes);
  return path;
}

/** A copy of a file, in which `patch` has changed some bytes. */
export function patched(path: string, patch: (view: DataView) => void): string {
  const bytes = new Uint8Array(readFileSync(path));
  patch(new DataView(bytes.buffer));
  return fileOf(bytes);
}
