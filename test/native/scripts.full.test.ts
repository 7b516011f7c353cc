/*
 * Checks of the native code beyond its tests: sanitizers, and bugs planted into the CUDA kernels.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { hasCompiler } from "../../scripts/cuda-emulator.mjs";
import { ROOT } from "../helpers/golden.ts";

const needs = hasCompiler ? "" : " (skipped: needs g++ on Linux)";
const MINUTES = 60_000;

it.skipIf(!hasCompiler).each([
  ["the sanitizers find nothing in the cpu kernels", "sanitize.mjs"],
  ["the CUDA kernels have no finding under sanitizers", "sanitize-cuda.mjs"],
  ["every bug planted into the CUDA kernels is found", "mutants-cuda.mjs"],
])(`%s${needs}`, { timeout: 25 * MINUTES }, async (_, script) => {
  const run = promisify(execFile)(process.execPath, [join(ROOT, "scripts", script)], { maxBuffer: 1 << 28 });
  await expect(run, script).resolves.toBeDefined();
});
