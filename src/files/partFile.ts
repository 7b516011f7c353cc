/*
 * A file that is being written: it has another name until it is complete and on disk. A file that already has the final
 * name stays until then.
 */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { Llama2Error } from "../errors.ts";
import { reasonOf } from "./reasons.ts";

export class PartFile {
  /** Its final path. */
  readonly path: string;
  /** Its path while it is written. */
  readonly partPath: string;
  protected readonly fd: number;
  private isOpen = true;

  /**
   * @param flags of fs.open
   * @throws Llama2Error E_FILE
   */
  constructor(path: string, partPath: string, flags: "wx" | "a+") {
    this.path = path;
    this.partPath = partPath;
    this.fd = writing(path, () => openSync(partPath, flags));
  }

  /** Write all of `bytes`, at a position or at the end. `onWritten` gets the part that each write(2) has written. */
  protected writeAll(bytes: Uint8Array, position: number | null, onWritten?: (part: Uint8Array) => void): void {
    for (let done = 0; done < bytes.length; ) {
      const at = position === null ? null : position + done;
      const n = writeSync(this.fd, bytes, done, bytes.length - done, at);
      onWritten?.(bytes.subarray(done, done + n));
      done += n;
    }
  }

  /**
   * The file is complete: give it its final name.
   * @throws Llama2Error E_FILE
   */
  finish(): void {
    writing(this.path, () => {
      fsyncSync(this.fd);
      this.close();
      renameSync(this.partPath, this.path);
    });
  }

  /** Delete it. */
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

/** The system's error for writing `path`, as a Llama2Error. */
export function cannotWrite(path: string, error: unknown): Llama2Error {
  if (error instanceof Llama2Error) return error;
  return new Llama2Error("E_FILE", `cannot write ${path}: ${reasonOf(error as NodeJS.ErrnoException)}`);
}
