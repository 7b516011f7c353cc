/*
 * Tries a native file in a child process before it is loaded.
 *
 * A native file that was built for another machine may crash the whole process when it is loaded, and nothing can catch
 * that. So a child process loads it first. That takes a tenth of a second; a success is recorded beside the file, for
 * its exact bytes on this machine. The build does it too, so usually there is nothing left to try. A failure is not
 * recorded: its cause may be gone the next time.
 *
 * A child can be started only if the executable of this process is node. In an Electron app, a single-executable
 * application or another runtime, starting it might open the application again. There, and where children are not
 * allowed, a file is loaded only if the same bytes have loaded before, on any machine.
 */
import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { hostname, release } from "node:os";
import { basename, dirname } from "node:path";

export interface ProbeResult {
  ok: boolean;
  /** What kind of failure: ERR_DLOPEN_FAILED, a signal's name, TIMEOUT, EXIT, UNTRIED; "" for none. */
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
/** Set in the child, which must never start another. */
const GUARD = "LLAMA2_PROBE";

const OK: ProbeResult = { ok: true, code: "", reason: "" };
const failed = (code: string, reason: string): ProbeResult => ({ ok: false, code, reason });

/** Can the native file at `path` be loaded? */
export function probe(path: string): ProbeResult {
  let bytes: string;
  try {
    bytes = sha256(readFileSync(path));
  } catch (error) {
    const { code = "EXIT", message } = error as NodeJS.ErrnoException;
    return failed(code, message);
  }
  const machine = sha256([process.version, process.platform, process.arch, hostname(), release()].join("\n"));
  const memory = `${path}.probe`;
  const remembered = recall(memory);
  if (remembered.bytes === bytes && remembered.machine === machine) return OK;
  const child = isNode() ? loadInChild(path) : undefined;
  if (child === undefined) {
    return remembered.bytes === bytes ? OK : failed("UNTRIED", `it has not been tried, and ${whyNoChild()}`);
  }
  if (child.ok) remember(memory, { bytes, machine });
  return child;
}

const sha256 = (data: Uint8Array | string): string => createHash("sha256").update(data).digest("hex");

/** Whether the executable of this process is node, so that it can be started with a script. */
function isNode(): boolean {
  if (process.env[GUARD] !== undefined) return false;
  if (process.versions.bun || process.versions.deno || isSingleExecutable()) return false;
  if (process.versions.electron) return process.env.ELECTRON_RUN_AS_NODE !== undefined;
  return /^node(js)?[-\d.]*(\.exe)?$/i.test(basename(process.execPath));
}

function isSingleExecutable(): boolean {
  try {
    return createRequire(import.meta.url)("node:sea").isSea();
  } catch {
    return false; // this version of Node has no such applications
  }
}

const whyNoChild = (): string =>
  isNode()
    ? "no process can be started here to try it"
    : `${process.execPath} is not known to be node, so it is not started to try it`;

/** The result of a child that loads the file; undefined if no child can be started. */
function loadInChild(path: string): ProbeResult | undefined {
  const { NODE_OPTIONS: _, ...env } = process.env;
  const options = { env: { ...env, [GUARD]: "1" }, encoding: "utf8", timeout: TIMEOUT_MS, cwd: dirname(path) } as const;
  let child: SpawnSyncReturns<string>;
  try {
    child = spawnSync(process.execPath, ["-e", CHILD, path], options);
  } catch {
    return undefined; // Node's permission model
  }
  if (child.error) {
    const { code } = child.error as NodeJS.ErrnoException;
    return code === "ETIMEDOUT" ? failed("TIMEOUT", "loading it takes too long") : undefined;
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

/** A recorded success: the file's bytes, and the machine. */
interface Memory {
  bytes: string;
  machine: string;
}

function recall(memory: string): Partial<Memory> {
  try {
    const [bytes, machine] = readFileSync(memory, "utf8").split("\n");
    return { bytes, machine };
  } catch {
    return {};
  }
}

function remember(memory: string, { bytes, machine }: Memory): void {
  const part = `${memory}.${process.pid}`;
  try {
    writeFileSync(part, `${bytes}\n${machine}\n`);
    renameSync(part, memory); // whole or not at all
  } catch {
    // a folder that cannot be written to: the next start tries again
  }
}
