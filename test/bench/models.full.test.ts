import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { hasAddon } from "../helpers/backends.ts";
import { MAIN } from "../helpers/cli.ts";
import { ROOT } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

it.runIf(hasAddon)("npm run bench measures a model and a program with run.c's flags, and writes the results", () => {
  const folder = tempDir();
  const program = join(folder, "runfast");
  writeFileSync(program, `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@" --compat\n`, { mode: 0o755 });
  const out = join(folder, "result.json");
  const model = `260K=${join(ROOT, "models", "stories2M.bin")}`;
  const args = ["--only", "cpu", "--runfast", program, "--model", model, "--out", out];
  const { status, stderr } = spawnSync(process.execPath, [join(ROOT, "bench", "models.mjs"), ...args], {
    encoding: "utf8",
  });
  expect(status, stderr).toBe(0);
  const { figures } = JSON.parse(readFileSync(out, "utf8"));
  expect(figures.map(({ row, threads }: { row: string; threads: number }) => `${row} ${threads}`)).toEqual([
    "cpu 1",
    "cpu 1",
  ]);
  for (const { ours, ratio } of figures) expect(Math.min(ours.min, ratio.min)).toBeGreaterThan(0);
});
