/*
 * A file in the making: it grows under another name and takes its own when it is complete and on the disk. Whatever had
 * that name stays until then.
 */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { Llama2Error } from "../errors.ts";
import { reasonOf } from "./reasons.ts";

export class PartFile {
  /** Where it will be. */
  readonly path: string;
  /** Where it is. */
  readonly partPath: string;
  protected readonly fd: number;
  private isOpen = true;

  /**
   * @param flags as open(2) has them
   * @throws Llama2Error E_FILE
   */
  constructor(path: string, partPath: string, flags: "wx" | "a+") {
    this.path = path;
    this.partPath = partPath;
    this.fd = writing(path, () => openSync(partPath, flags));
  }

  /** Write all of `bytes`, at a position or at the end. Each write(2) may take a part of them: `onWritten` is told which. */
  protected writeAll(bytes: Uint8Array, position: number | null, onWritten?: (part: Uint8Array) => void): void {
    for (let done = 0; done < bytes.length; ) {
      const at = position === null ? null : position + done;
      const n = writeSync(this.fd, bytes, done, bytes.length - done, at);
      onWritten?.(bytes.subarray(done, done + n));
      done += n;
    }
  }

  /**
   * It is complete: give it its name.
   * @throws Llama2Error E_FILE
   */
  finish(): void {
    writing(this.path, () => {
      fsyncSync(this.fd);
      this.close();
      renameSync(this.partPath, this.path);
    });
  }

  /** It is of no use: leave no trace of it. */
  discard(): void {
    this.close();
    rmSync(this.partPath, { force: true });
  }

  /** May be called twice. */
  close(): void {
    if (this.isOpen) closeSync(this.fd);
    this.isOpen = false;
  }
}

/**
 * Do something that writes `path`.
 * @throws Llama2Error E_FILE if the system refuses
 */
export function writing<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

/** What the system says against writing `path`, as an error of ours. */
export function cannotWrite(path: string, error: unknown): Llama2Error {
  if (error instanceof Llama2Error) return error;
  return new Llama2Error("E_FILE", `cannot write ${path}: ${reasonOf(error as NodeJS.ErrnoException)}`);
}
