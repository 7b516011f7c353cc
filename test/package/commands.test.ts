/*
 * Scripts of package.json print their usage, and do nothing, for arguments that they do not know.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

const run = (script: string, args: readonly string[], cwd?: string) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, script), ...args], {
    encoding: "utf8",
    cwd,
  });
  return { status, stdout, stderr };
};

it.each<[string, string, string[]]>([
  ["fuzz", "scripts/fuzz.mjs", ["gguf", "--bogus"]],
  ["fuzz", "scripts/fuzz.mjs", ["no-format"]],
  ["test:mutants", "scripts/mutants-cuda.mjs", ["one"]],
  ["test:mutants", "scripts/mutants-cuda.mjs", ["10000"]],
  ["build:study", "scripts/build-study.mjs", ["--help"]],
  ["bench:kernels", "bench/kernels.mjs", ["--help"]],
  ["bench:table", "bench/table.mjs", ["--chekc"]],
])("npm run %s: %s %j", (name, script, args) => {
  const { status, stdout, stderr } = run(script, args);
  expect({ status, stdout }, stderr).toEqual({ status: 2, stdout: "" });
  expect(stderr.split("\n")[0]).toContain(`usage: npm run ${name}`);
});

describe("npm run build:study", () => {
  it("never replaces a folder with other content", () => {
    const folder = tempDir();
    writeFileSync(join(folder, "thesis.txt"), "years of work");
    const { status, stderr } = run("scripts/build-study.mjs", ["."], folder);
    expect(status).toBe(2);
    expect(stderr).toContain("is not empty and holds no study page");
    expect(existsSync(join(folder, "thesis.txt"))).toBe(true);
  });

  it("replaces a folder that it made", () => {
    const folder = mkdtempSync(join(tempDir(), "page-"));
    for (const _ of [1, 2]) expect(run("scripts/build-study.mjs", [folder]).status).toBe(0);
    rmSync(join(folder, "study.js"));
    expect(run("scripts/build-study.mjs", [folder]).status).toBe(2);
  });
});
