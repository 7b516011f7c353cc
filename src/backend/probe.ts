/*
 * Trying a native file before it is loaded.
 *
 * A native file that does not belong here may end the whole process when it is loaded, and nothing can catch that. So
 * a child process loads it first, and what becomes of the child is the answer. That takes a tenth of a second; a
 * success is remembered beside the file, for this very file on this very machine. A failure is not: its cause may be
 * gone the next time.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { hostname, release } from "node:os";

export interface ProbeResult {
  ok: boolean;
  /** What kind of failure: ERR_DLOPEN_FAILED, a signal's name, TIMEOUT, EXIT; "" for none. */
  code: string;
  /** What happened, in words; "" for nothing. */
  reason: string;
}

const CHILD = `
  try {
    require(process.argv[1]);
    process.stdout.write(JSON.stringify({ ok: true, code: "", reason: "" }));
  } catch (error) {
    process.stdout.write(JSON.stringify({ ok: false, code: error.code ?? "EXIT", reason: error.message }));
  }`;

const TIMEOUT_MS = 20_000;

/** Can the native file at `path` be loaded? */
export function probe(path: string): ProbeResult {
  const memory = `${path}.probe`;
  let key: string;
  try {
    key = keyOf(path);
  } catch (error) {
    const { code = "EXIT", message } = error as NodeJS.ErrnoException;
    return { ok: false, code, reason: message };
  }
  if (recall(memory) === key) return { ok: true, code: "", reason: "" };
  const result = loadInChild(path);
  if (result.ok) remember(memory, key);
  return result;
}

/** What a success depends on: the file's bytes, Node, and the machine. */
function keyOf(path: string): string {
  const machine = [process.version, process.platform, process.arch, hostname(), release()];
  return createHash("sha256").update(readFileSync(path)).update(machine.join("\n")).digest("hex");
}

function loadInChild(path: string): ProbeResult {
  const { NODE_OPTIONS: _, ...env } = process.env;
  const child = spawnSync(process.execPath, ["-e", CHILD, path], { env, encoding: "utf8", timeout: TIMEOUT_MS });
  const failed = (code: string, reason: string): ProbeResult => ({ ok: false, code, reason });
  if (child.error) {
    const { code = "EXIT", message } = child.error as NodeJS.ErrnoException;
    return code === "ETIMEDOUT" ? failed("TIMEOUT", "loading it takes too long") : failed(code, message);
  }
  if (child.signal) return failed(child.signal, "loading it crashes");
  try {
    const { ok, code, reason } = JSON.parse(child.stdout) as ProbeResult;
    // dlopen's messages begin with the path, which the reader knows
    return { ok, code, reason: reason.split("\n")[0].replace(`${path}: `, "") };
  } catch {
    return failed("EXIT", `loading it ends the process with status ${child.status}`);
  }
}

function recall(memory: string): string | undefined {
  try {
    return readFileSync(memory, "utf8");
  } catch {
    return undefined;
  }
}

function remember(memory: string, key: string): void {
  const part = `${memory}.${process.pid}`;
  try {
    writeFileSync(part, key);
    renameSync(part, memory); // whole or not at all
  } catch {
    // a folder that cannot be written to: the next start tries again
  }
}
