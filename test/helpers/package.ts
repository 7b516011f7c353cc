/*
 * Copies of this package, with changes.
 */
import { cpSync, existsSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./golden.ts";
import { tempDir } from "./temp.ts";

/** A copy of dist/, with all that it needs beside it, but without the CUDA addon. Its folder. */
export function copyPackage(): string {
  const root = tempDir();
  cpSync(join(ROOT, "dist"), join(root, "dist"), { recursive: true });
  cpSync(join(ROOT, "package.json"), join(root, "package.json"));
  for (const folder of ["node_modules", "models", "build"]) {
    symlinkSync(join(ROOT, folder), join(root, folder), "junction");
  }
  return root;
}

/** The package, or a copy of it where the CUDA addon has been built, which `auto` would prefer or talk about. */
export const packageWithoutCuda = (): string => (existsSync(join(ROOT, "build-cuda")) ? copyPackage() : ROOT);
