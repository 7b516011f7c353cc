/*
 * The command llama2, run as a user runs it: the built files, in a process of its own.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { packageWithoutCuda } from "./package.ts";

export const MAIN = join(packageWithoutCuda(), "dist", "cli", "main.js");

export interface Finished {
  code: number | null;
  stdout: Buffer;
  stderr: string;
}

export interface RunOptions {
  /** What it reads; by default nothing. `null`: it waits for input that never comes. */
  stdin?: string | Uint8Array | null;
  cwd?: string;
  /** Another copy of the package. */
  root?: string;
  env?: NodeJS.ProcessEnv;
  /** Called once it has been started. */
  onStart?: (child: ChildProcess) => void;
  /** Called with everything on stdout so far, whenever there is more. */
  onStdout?: (child: ChildProcess, soFar: string) => void;
}

export function llama2(
  args: string[],
  { stdin = "", cwd, root, env, onStart, onStdout }: RunOptions = {},
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const main = root === undefined ? MAIN : join(root, "dist", "cli", "main.js");
    const child = spawn(process.execPath, [main, ...args], { cwd, env: { ...process.env, ...env } });
    onStart?.(child);
    const stdout: Buffer[] = [];
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => {
      stdout.push(chunk);
      onStdout?.(child, Buffer.concat(stdout).toString());
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout: Buffer.concat(stdout), stderr }));
    child.stdin.on("error", () => {}); // it may end without reading
    if (stdin !== null) child.stdin.end(stdin);
  });
}

/** The same for an example of a text of ours. What serves until it is stopped is stopped when it has said where. */
export function example(args: string[], options: RunOptions = {}): Promise<Finished> {
  if (args[0] !== "study") return llama2(args, options);
  return llama2([...args, "--no-open"], { ...options, onStdout: (child) => child.kill("SIGINT") });
}
