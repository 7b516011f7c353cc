/*
 * A Node that runs TypeScript files directly: 22.18 or later. This process if it is one, else npm's `node` package.
 */
import { execFile, execFileSync } from "node:child_process";
import { ROOT } from "./golden.ts";

function find(): string | undefined {
  const [major, minor] = process.versions.node.split(".").map(Number);
  return major > 22 || (major === 22 && minor >= 18) ? process.execPath : npmNode("node@24");
}

/** The path of npm's Node of this name, or undefined where npm cannot get it. */
export function npmNode(name: string): string | undefined {
  try {
    const args = ["-y", name, "-p", "process.execPath"];
    const options = {
      encoding: "utf8",
      timeout: 120_000,
      stdio: ["ignore", "pipe", "ignore"] as ("ignore" | "pipe")[],
    } as const;
    return execFileSync("npx", args, { ...options, shell: process.platform === "win32" }).trim();
  } catch {
    return undefined;
  }
}

/** Its path, or undefined where npm cannot get one. */
export const modernNode: string | undefined = find();
export const needsModernNode = modernNode ? "" : " (skipped: needs Node 22.18, and npx cannot get one)";

export interface Finished {
  code: number;
  stdout: Buffer;
  stderr: string;
}

/** Run it in `cwd`. */
export function runModern(args: string[], { stdin = "", cwd = ROOT } = {}): Promise<Finished> {
  return new Promise((resolve, reject) => {
    if (!modernNode) throw new Error("there is no modern Node");
    const options = { cwd, encoding: "buffer", timeout: 110_000 } as const;
    const child = execFile(modernNode, args, options, (error, stdout, stderr) => {
      if (error && typeof error.code !== "number") reject(error);
      else resolve({ code: Number(error?.code ?? 0), stdout, stderr: stderr.toString() });
    });
    child.stdin?.on("error", () => {}); // it may end without having read it
    child.stdin?.end(Buffer.from(stdin, "latin1"));
  });
}
