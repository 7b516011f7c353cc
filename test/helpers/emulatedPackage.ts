/*
 * This package as it is on a machine where the cuda backend was built: a copy of dist/ with the emulated addon in its
 * place. Settings of the emulator (native/cuda/emulator/runtime.h) are environment variables, read once per process.
 */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canEmulateAddon, EMULATED_ADDON } from "../../scripts/cuda-emulator.mjs";
import { copyPackage } from "./package.ts";

export const needsEmulator = canEmulateAddon
  ? ""
  : " (skipped: needs g++ on Linux and Node's headers, which are not here)";

export interface PackageOptions {
  /** A file to use as the addon instead of the emulated one. */
  addon?: string | Uint8Array;
  /** Whether `auto` finds an NVIDIA driver. */
  driver?: boolean;
}

/** Its folder. */
export function emulatedPackage({ addon, driver = true }: PackageOptions = {}): string {
  const root = copyPackage();
  const release = join(root, "build-cuda", "Release");
  mkdirSync(release, { recursive: true });
  const place = join(release, "llama2_cuda.node");
  if (addon === undefined) cpSync(EMULATED_ADDON, place);
  else writeFileSync(place, addon);
  // the module itself, and its copy in the package
  for (const file of ["backend/cuda/driver.js", "node/chunk-engine.js"]) {
    const path = join(root, "dist", file);
    const code = readFileSync(path, "utf8");
    const answered = code.replace(/\bhasDriver ?= ?/, `hasDriver = () => ${driver}, seesDriver = `);
    if (answered === code) throw new Error(`dist/${file} does not define hasDriver`);
    writeFileSync(path, answered);
  }
  return root;
}
