/*
 * Scripts that run in a process of their own, with the built library.
 */
import { spawn } from "node:child_process";
import { ROOT } from "./golden.ts";

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** Run an ES module in the checkout, where `import "llama2.ts"` is this package. Killed after `limitMs`. */
export function runScript(script: string, limitMs = 20_000): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const args = ["--expose-gc", "--input-type=module", "--eval", script];
    const child = spawn(process.execPath, args, { cwd: ROOT, timeout: limitMs, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}
