/*
 * Temporary folders, deleted after the tests of a file.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folders: string[] = [];

/** A new empty folder. */
export function tempDir(): string {
  const folder = mkdtempSync(join(tmpdir(), "llama2-test-"));
  folders.push(folder);
  return folder;
}

/** Called by cleanUp.ts. */
export function removeTempDirs(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}
