/*
 * Opens untrusted files without hanging, and reads them safely.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { Llama2Error } from "../errors.ts";
import { shortened } from "./bytes.ts";
import { whyNotRead } from "./reasons.ts";

/** An open regular file. */
export class InputFile {
  readonly path: string;
  readonly size: number; // bytes, when it was opened
  private readonly fd: number;
  private open = true;

  /**
   * Open `path` for reading.
   * @throws Llama2Error E_FILE if it cannot be opened, E_FORMAT if it is a directory, a pipe or a device
   */
  constructor(path: string) {
    this.path = path;
    // without O_NONBLOCK, opening a pipe waits for a writer
    this.fd = opening(path, () => openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)));
    try {
      const stat = opening(path, () => fstatSync(this.fd));
      this.size = stat.size;
      if (stat.isFile()) return;
      const found = stat.isDirectory() ? "a directory" : stat.isFIFO() ? "a pipe" : "a device";
      throw new Llama2Error("E_FORMAT", `${path} is ${found}, expected a file`);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * Fill `into` with the bytes from `position` on.
   * @throws Llama2Error E_FORMAT if the file ends before, because it has been shortened; E_FILE if the disk or network
   *   fails
   */
  read(into: Uint8Array, position: number): void {
    for (let done = 0; done < into.length; ) {
      const n = this.readSome(into.subarray(done), position + done);
      if (n === 0) throw shortened(this.path, this.size, position + done);
      done += n;
    }
  }

  /** May be called twice. */
  close(): void {
    if (this.open) closeSync(this.fd);
    this.open = false;
  }

  /** Read at least one byte into `into`, and return how many; 0 at the end of the file. */
  private readSome(into: Uint8Array, position: number): number {
    try {
      return readSync(this.fd, into, 0, into.length, position);
    } catch (error) {
      throw new Llama2Error("E_FILE", `cannot read ${this.path} at byte ${position}: ${(error as Error).message}`);
    }
  }
}

/** @throws Llama2Error E_FILE with the system's reason */
function opening<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    const why = whyNotRead(error as NodeJS.ErrnoException);
    throw new Llama2Error("E_FILE", `cannot open ${path === "" ? '""' : path}: ${why}`);
  }
}
