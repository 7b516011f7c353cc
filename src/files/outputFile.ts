/*
 * Files that are there as a whole or not at all.
 */
import { randomUUID } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { Llama2Error } from "../errors.ts";
import { reasonOf } from "./reasons.ts";

/**
 * A file in the making. It grows under another name beside its own, `model.bin.1a2b3c4d.part`, and takes its own only
 * when everything is written and on the disk. Whatever had that name stays until then.
 */
export class OutputFile {
  private readonly path: string; // where it will be
  private readonly partPath: string; // where it is
  private readonly fd: number;
  private open = true;

  /** @throws Llama2Error E_FILE if it cannot be made, or would replace something that is no file */
  constructor(path: string) {
    this.path = resolveTarget(path);
    this.partPath = `${this.path}.${randomUUID().slice(0, 8)}.part`;
    this.fd = attempt(path, () => openSync(this.partPath, "wx"));
  }

  /** @throws Llama2Error E_FILE, for one if the disk is full */
  write(bytes: Uint8Array, position: number): void {
    attempt(this.path, () => {
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(this.fd, bytes, done, bytes.length - done, position + done);
      }
    });
  }

  /**
   * It is complete: give it its name.
   * @throws Llama2Error E_FILE
   */
  finish(): void {
    attempt(this.path, () => {
      fsyncSync(this.fd);
      this.close();
      renameSync(this.partPath, this.path);
    });
  }

  /** It failed: leave no trace of it. */
  discard(): void {
    this.close();
    rmSync(this.partPath, { force: true });
  }

  private close(): void {
    if (this.open) closeSync(this.fd);
    this.open = false;
  }
}

/** Write a file of these bytes, whole or not at all. */
export function writeWhole(path: string, bytes: Uint8Array): void {
  const file = new OutputFile(path);
  try {
    file.write(bytes, 0);
    file.finish();
  } catch (error) {
    file.discard();
    throw error;
  }
}

/**
 * @param sources the files that `out` is made from
 * @throws Llama2Error E_USAGE if it is one of them, by whatever path
 */
export function checkReplacesNone(out: string, sources: readonly string[]): void {
  const placeOf = (path: string) => (existsSync(path) ? realpathSync(path) : undefined);
  const place = placeOf(out);
  if (place !== undefined && sources.some((source) => placeOf(source) === place)) {
    throw new Llama2Error("E_USAGE", `${out} would replace what it is made from`);
  }
}

/** The place that `path` names, through links. What is there already must be a file. */
function resolveTarget(path: string): string {
  if (path === "") throw cannotWrite('""', "the name is empty");
  const stat = attempt(path, () => statSync(path, { throwIfNoEntry: false }));
  if (!stat) return path;
  if (!stat.isFile()) throw cannotWrite(path, stat.isDirectory() ? "it is a directory" : "it is not a regular file");
  return attempt(path, () => realpathSync(path));
}

function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw cannotWrite(path, reasonOf(error as NodeJS.ErrnoException));
  }
}

const cannotWrite = (path: string, why: string) => new Llama2Error("E_FILE", `cannot write ${path}: ${why}`);
