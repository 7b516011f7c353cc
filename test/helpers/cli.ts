/*
 * The command llama2 with what is built. The long tests run it as a user does, in a process of its own. The fast ones call
 * its main() in this process where the two are alike: a process of its own costs three times as much CPU.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pathToFileURL } from "node:url";
import { FULL } from "./full.ts";
import { packageWithoutCuda } from "./package.ts";

const built = join(packageWithoutCuda(), "dist");
export const MAIN = join(built, "node", "main.js");

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

/** Run it. In a process of its own where that can be seen: by signals, by input that never ends, by another package. */
export function llama2(args: string[], options: RunOptions = {}): Promise<Finished> {
  const { stdin, root, onStart, onStdout } = options;
  const needsProcess = FULL || stdin === null || root !== undefined || onStart || onStdout;
  return needsProcess ? llama2Process(args, options) : llama2Here(args, options);
}

/** Run it in a process of its own. */
export function llama2Process(
  args: string[],
  { stdin = "", cwd, root, env, onStart, onStdout }: RunOptions = {},
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const main = root === undefined ? MAIN : join(root, "dist", "node", "main.js");
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

let last: Promise<unknown> = Promise.resolve();

/** Run it in this process, one call after the other: it has the process's streams, variables and folder meanwhile. */
export function llama2Here(args: string[], options: Omit<RunOptions, "root"> = {}): Promise<Finished> {
  const next = last.then(() => callMain(args, options));
  last = next.catch(() => {});
  return next;
}

async function callMain(args: string[], { stdin, cwd, env }: RunOptions): Promise<Finished> {
  const load = (file: string) => import(pathToFileURL(join(built, "cli", file)).href);
  const { main }: typeof import("../../src/cli/program.ts") = await load("program.js");
  const { beQuiet }: typeof import("../../src/cli/io.ts") = await load("io.js");
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  const { argv, exitCode } = process;
  const folder = process.cwd();
  const variables = { ...process.env };
  const restore = [capture("stdout", stdout), capture("stderr", stderr), feed(Buffer.from(stdin ?? ""))];
  try {
    process.argv = [process.execPath, MAIN, ...args];
    process.exitCode = undefined;
    setVariables({ ...variables, ...env });
    process.chdir(cwd ?? folder);
    const code = await main();
    return { code, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() };
  } finally {
    for (const undo of restore) undo();
    beQuiet(false);
    setVariables(variables);
    process.chdir(folder);
    Object.assign(process, { argv, exitCode });
  }
}

/** Let these be the variables of the environment. (Threads get those of process.env itself, not of one in its place.) */
function setVariables(variables: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(process.env)) if (variables[name] === undefined) delete process.env[name];
  for (const [name, value] of Object.entries(variables)) if (value !== undefined) process.env[name] = value;
}

/** Keep what is written to a stream, until the function that is returned is called. */
function capture(name: "stdout" | "stderr", chunks: Buffer[]): () => void {
  const stream = process[name];
  const write = stream.write;
  const listeners = stream.listeners("error");
  stream.write = (chunk: string | Uint8Array) => {
    chunks.push(Buffer.from(chunk as string));
    return true;
  };
  return () => {
    stream.write = write;
    for (const listener of stream.listeners("error")) {
      if (!listeners.includes(listener)) stream.off("error", listener as () => void);
    }
  };
}

/** Let standard input be these bytes, until the function that is returned is called. */
function feed(bytes: Buffer): () => void {
  const before = Object.getOwnPropertyDescriptor(process, "stdin") as PropertyDescriptor;
  const value = Readable.from(bytes.length > 0 ? [bytes] : [], { objectMode: false });
  Object.defineProperty(process, "stdin", { value, configurable: true });
  return () => Object.defineProperty(process, "stdin", before);
}

/** The same for an example of a text of ours. What serves until it is stopped is stopped when it has said where. */
export function example(args: string[], options: RunOptions = {}): Promise<Finished> {
  if (args[0] !== "study") return llama2(args, options);
  return llama2([...args, "--no-open"], { ...options, onStdout: (child) => child.kill("SIGINT") });
}
