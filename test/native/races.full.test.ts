/*
 * The emulator finds races between CUDA threads, and nothing else that looks like one, in whatever order they run.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { hasCompiler } from "../../scripts/cuda-emulator.mjs";
import { ROOT } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

const needs = hasCompiler ? "" : " (skipped: needs g++ on Linux)";
const source = join(ROOT, "native", "cuda", "emulator", "test", "races.cpp");
const flags = ["-std=c++17", "-O1", "-g1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"];

let program: string;
beforeAll(() => {
  if (!hasCompiler) return;
  const to = tempDir();
  const object = join(to, "races.o");
  program = join(to, "races");
  execFileSync("g++", [...flags, "-fsanitize=thread", "-c", source, "-o", object]);
  execFileSync("g++", ["-no-pie", object, "-o", program]);
});

it.skipIf(!hasCompiler).each([
  ["forward", "1"],
  ["forward", "4"],
  ["reverse", "1"],
  ["reverse", "4"],
  ["random", "1"],
  ["random", "4"],
])(`finds them when threads run %s, with %s blocks at a time${needs}`, (EMULATOR_SCHEDULE, EMULATOR_RESIDENT) => {
  const env = { ...process.env, EMULATOR_SCHEDULE, EMULATOR_RESIDENT };
  expect(execFileSync(program, { encoding: "utf8", env })).toBe("");
});
