/*
 * The command llama2 serve, in a process of its own.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { MAIN } from "./cli.ts";

export interface ServeCommand {
  child: ChildProcess;
  url: string;
  /** Its exit code, and all it said on stderr. */
  ended: Promise<{ code: number | null; stderr: string }>;
}

/** Start it on any free port; resolves when it listens. */
export function startServe(args: string[] = [], env: NodeJS.ProcessEnv = {}): Promise<ServeCommand> {
  const child = spawn(process.execPath, [MAIN, "serve", "--port", "0", ...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  const ended = new Promise<{ code: number | null; stderr: string }>((resolve) => {
    child.on("close", (code) => resolve({ code, stderr }));
  });
  return new Promise((resolve, reject) => {
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
      const [, url] = /^serving .* at (http:\S+)$/m.exec(stderr) ?? [];
      if (url) resolve({ child, url, ended });
    });
    ended.then(() => reject(new Error(`it has ended: ${stderr}`)));
  });
}
