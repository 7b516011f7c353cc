/*
 * A machine as code can inspect it: its files, its commands, its environment. Code that inspects a machine takes a World
 * as an argument, so that tests can describe any machine.
 */
import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { release } from "node:os";

/** The output of a command, and its exit status: 0 is success. */
export interface Said {
  status: number;
  stdout: string;
  stderr: string;
}

export interface World {
  readonly platform: string;
  /** Of the kernel, such as "6.8.0-40-generic". */
  readonly release: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  exists(path: string): boolean;
  /** A file's text; undefined if it cannot be read. */
  read(path: string): string | undefined;
  /** The names in a folder; empty if there is no such folder. */
  list(folder: string): string[];
  /** Run a command to its end; undefined if it is not installed. */
  run(command: string, args: readonly string[]): Promise<Said | undefined>;
}

/** A command that takes longer has hung, as nvidia-smi does if a GPU is lost. */
const TIMEOUT_MS = 15_000;

/** The machine that this process is on. */
export const thisWorld: World = {
  platform: process.platform,
  release: release(),
  env: process.env,
  exists: existsSync,
  read(path) {
    try {
      return readFileSync(path, "utf8");
    } catch {
      return undefined;
    }
  },
  list(folder) {
    try {
      return readdirSync(folder);
    } catch {
      return [];
    }
  },
  run(command, args) {
    return new Promise((resolve) => {
      const options = { encoding: "utf8", timeout: TIMEOUT_MS, env: { ...process.env, LC_ALL: "C" } } as const;
      try {
        execFile(command, args, options, (error, stdout, stderr) => {
          const { code } = (error ?? {}) as { code?: string | number };
          if (code === "ENOENT" || code === "EACCES") resolve(undefined);
          else if (error?.killed) resolve({ status: 124, stdout, stderr: `${command} did not answer` });
          else resolve({ status: error ? (typeof code === "number" ? code : 1) : 0, stdout, stderr });
        });
      } catch {
        resolve(undefined); // this process may not start others
      }
    });
  },
};
