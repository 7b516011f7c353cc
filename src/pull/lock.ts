/*
 * Only one process at a time fetches a file. It holds a lock file, and keeps updating its modification time.
 */
import { closeSync, openSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeSync } from "node:fs";
import { hostname } from "node:os";
import { Llama2Error } from "../errors.ts";
import { writing } from "../files/partFile.ts";

/** A lock that was not touched for this long is stale. */
const STALE_MS = 60_000;
const TOUCH_MS = 10_000;

export interface Lock {
  release(): void;
}

/**
 * Take the lock `path`.
 * @param what names what is locked, for messages
 * @throws Llama2Error E_FILE if another process holds it, or it cannot be made
 */
export function takeLock(path: string, what: string): Lock {
  const mine = `${process.pid} ${hostname()}\n`;
  if (!create(path, mine)) {
    const holder = holderOf(path);
    if (holder !== undefined) {
      const message = `${what} is being fetched by another process (${holder}). Wait until it is done, or end it`;
      throw new Llama2Error("E_FILE", message);
    }
    removeStale(path);
    if (!create(path, mine)) throw new Llama2Error("E_FILE", `${what} is being fetched by another process`);
  }
  const touching = setInterval(() => touch(path), TOUCH_MS).unref();
  return {
    release() {
      clearInterval(touching);
      if (textOf(path) === mine) rmSync(path, { force: true });
    },
  };
}

/** Whether it could be made: it was not there. */
function create(path: string, text: string): boolean {
  return writing(path, () => {
    let fd: number;
    try {
      fd = openSync(path, "wx");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw error;
    }
    writeSync(fd, text);
    closeSync(fd);
    return true;
  });
}

/** The process that holds the lock; undefined if it has ended, or has not touched the lock for long. */
function holderOf(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat || Date.now() - stat.mtimeMs > STALE_MS) return undefined;
  const [pid, host] = (textOf(path) ?? "").trim().split(" ");
  if (host === hostname() && !isAlive(Number(pid))) return undefined;
  return `process ${pid}`;
}

/** Remove a stale lock atomically: of two processes that try, one succeeds. */
function removeStale(path: string): void {
  const aside = `${path}.${process.pid}`;
  try {
    renameSync(path, aside);
  } catch {
    return; // another process did
  }
  rmSync(aside, { force: true });
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // the process exists, and is another user's
  }
}

function touch(path: string): void {
  const now = new Date();
  try {
    utimesSync(path, now, now);
  } catch {
    // the lock was removed; the download's digest is checked in any case
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
