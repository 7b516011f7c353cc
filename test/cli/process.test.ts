/*
 * Unusual surroundings of a process: closed streams, no current folder, no permissions, being process 1.
 */
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";
import { llama2Here, llama2Process, MAIN } from "../helpers/cli.ts";
import { tempDir } from "../helpers/temp.ts";

const STORY = ["-s", "1", "-n", "5", "--backend", "wasm"];
const isPosix = process.platform !== "win32";
const canUnshare = isPosix && spawnSync("unshare", ["--pid", "--fork", "true"]).status === 0;

/** Run a line of shell in which $NODE $MAIN is llama2. */
function shell(line: string, cwd = tempDir()) {
  const env = { ...process.env, NODE: process.execPath, MAIN };
  return spawnSync("sh", ["-c", line, "sh", ...STORY], { cwd, env, encoding: "utf8" });
}

describe.skipIf(!isPosix)("llama2 ends well", () => {
  it.each([
    ["standard output", ">&-"],
    ["standard error", "2>&-"],
    ["standard input", "<&-"],
  ])("with %s closed", (_, closed) => {
    const { status, stderr } = shell(`"$NODE" "$MAIN" "$@" ${closed}`);
    expect(status).toBe(0);
    expect(stderr).not.toMatch(/\n {4}at /);
  });

  it("in a folder that has been deleted, with one line that says so", () => {
    const { status, stderr } = shell(`rmdir "$PWD" && "$NODE" "$MAIN" "$@"`);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^llama2: the current folder has been deleted[^\n]*\n$/);
  });

  it("without permission for threads, with one line that says so", () => {
    const flag = process.allowedNodeEnvironmentFlags.has("--permission") ? "--permission" : "--experimental-permission";
    const { status, stderr } = shell(`"$NODE" --no-warnings ${flag} --allow-fs-read='*' "$MAIN" "$@"`);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^llama2: this process may not start threads[^\n]*\n$/);
  });

  it.skipIf(!canUnshare)(
    `as process 1 on SIGTERM${canUnshare ? "" : " (skipped: unshare needs root on Linux)"}`,
    { timeout: 20_000 },
    async () => {
      // it waits for a prompt that never comes
      const args = ["--pid", "--fork", "--kill-child", process.execPath, MAIN, "-i", "-"];
      const outer = spawn("unshare", args, { cwd: join(MAIN, "..") });
      const inner = await childOf(outer.pid as number);
      const ended = new Promise((resolve) => outer.on("close", resolve));
      // again and again: while node itself is starting, process 1 does not hear it
      const asking = setInterval(() => process.kill(inner, "SIGTERM"), 200);
      outer.on("exit", () => clearInterval(asking));
      expect(await ended).toBe(143);
    },
  );
});

describe("a command in a process of its own prints and exits as main() does, which the fast tests call:", () => {
  const model = checkpointFile(SHAPES.tiny);
  it.each([
    ["--version"],
    ["help"],
    ["tokenize", "Once upon a time"],
    ["detokenize", "-"],
    ["logits", model, "--tokens", "1 5 9"],
    ["perplexity", "missing.bin", "missing.txt"],
    ["complete", "--prompts", "-", "-t", "0", "--max-tokens", "4"],
    ["inspect", model],
    ["verify", "-"],
    ["chat", "--quietly"],
  ])("%s", async (...args) => {
    const options = { stdin: "1 463", cwd: tempDir() };
    expect(await llama2Process(args, options)).toEqual(await llama2Here(args, options));
  });
});

async function childOf(pid: number): Promise<number> {
  for (;;) {
    const { stdout } = spawnSync("cat", [`/proc/${pid}/task/${pid}/children`], { encoding: "utf8" });
    if (stdout.trim() !== "") return Number(stdout);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
