/*
 * Runs scripts/gpu-check.py, as on a bare machine: without Node.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { delimiter, join } from "node:path";
import { ROOT } from "./golden.ts";
import { tempDir } from "./temp.ts";

export interface Result {
  what: string;
  ok?: boolean;
  median?: number;
  min?: number;
  max?: number;
  unit?: string;
  skipped?: string;
}
export interface Section {
  name: string;
  status: "ok" | "failed" | "crashed" | "stopped" | "skipped";
  why?: string;
  results: Result[];
}
export interface Report {
  schema: number;
  date: string;
  commit: string;
  command: string;
  status: string;
  error?: string;
  device: { what: string } | null;
  build: { compiler: string; seconds: number };
  seconds: number;
  sections: Section[];
}

export const hasPython = spawnSync("python3", ["--version"], { stdio: "ignore" }).status === 0;

/** A PATH with everything on it but Node and what comes with it. */
function pathWithoutNode(): string {
  const to = join(tempDir(), "bin");
  mkdirSync(to);
  const taken = new Set(["node", "npm", "npx", "corepack"]);
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    if (folder.includes("node_modules")) continue;
    let names: string[] = [];
    try {
      names = readdirSync(folder);
    } catch {
      // a folder on PATH need not be there
    }
    for (const name of names) {
      if (taken.has(name)) continue;
      try {
        accessSync(join(folder, name), constants.X_OK);
        symlinkSync(join(folder, name), join(to, name));
        taken.add(name);
      } catch {
        // not a program
      }
    }
  }
  return to;
}
export const bareEnv = (): NodeJS.ProcessEnv => ({ PATH: pathWithoutNode(), HOME: process.env.HOME });

/** A folder with Python and nothing else. */
export function pythonOnly(): string {
  const to = tempDir();
  const { stdout } = spawnSync("python3", ["-c", "import sys; print(sys.executable)"], { encoding: "utf8" });
  symlinkSync(stdout.trim(), join(to, "python3"));
  return to;
}

/** @returns the exit status, what was printed, and the results if they were written */
export function gpuCheck(args: readonly string[], env: NodeJS.ProcessEnv) {
  const out = join(tempDir(), "results.json");
  const { status, stdout, stderr } = spawnSync(
    "python3",
    [join(ROOT, "scripts", "gpu-check.py"), "--out", out, ...args],
    { encoding: "utf8", env, maxBuffer: 2 ** 28 },
  );
  let report: Report | undefined;
  try {
    report = JSON.parse(readFileSync(out, "utf8"));
  } catch {
    // it failed before
  }
  return { status, printed: `${stdout}${stderr}`, report };
}

/** Python that may import scripts/gpu. */
export const python = (code: string) =>
  spawnSync("python3", ["-B", "-c", code], {
    encoding: "utf8",
    env: { ...process.env, PYTHONPATH: join(ROOT, "scripts", "gpu") },
  });
