/*
 * A fresh clone, in which `npx .` is the first command.
 */
import { spawnSync } from "node:child_process";
import { cpSync } from "node:fs";
import { relative } from "node:path";
import { expect, it } from "vitest";
import { ROOT } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

const MADE = /^(\.git|dist|build|build-\w+|node_modules|test[\\/]consumers[\\/](apps|node_modules))$/;

it.skipIf(process.platform === "win32")(
  "npx . installs, builds and tells a story, and is what messages call it",
  { timeout: 600_000 },
  () => {
    const clone = tempDir();
    cpSync(ROOT, clone, { recursive: true, filter: (path) => !MADE.test(relative(ROOT, path)) });
    const npx = (...args: string[]) =>
      spawnSync("npx", [".", ...args], { cwd: clone, encoding: "utf8", env: { ...process.env, NODE_OPTIONS: "" } });
    const first = npx("-i", "Once upon a time", "-t", "0", "-n", "8");
    expect(first.stdout, first.stderr).toMatch(/^Once upon a time, there was a/);
    expect(first.stderr).toContain("llama2.ts: building ...\n");
    const second = npx("missing.bin");
    expect(second.stderr).toContain("All commands: npx . help\n");
    expect(second.stderr).not.toContain("building");
  },
);
