/*
 * Writes files as a whole or not at all.
 */
import { randomUUID } from "node:crypto";
import { existsSync, realpathSync, statSync } from "node:fs";
import { Llama2Error } from "../errors.ts";
import { PartFile, writing } from "./partFile.ts";

/** A file that is written as `model.bin.1a2b3c4d.part` beside its final path. */
export class OutputFile extends PartFile {
  /** @throws Llama2Error E_FILE if it cannot be created, or would replace something that is not a file */
  constructor(path: string) {
    const target = resolveTarget(path);
    super(target, `${target}.${randomUUID().slice(0, 8)}.part`, "wx");
  }

  /** @throws Llama2Error E_FILE, for example if the disk is full */
  write(bytes: Uint8Array, position: number): void {
    writing(this.path, () => this.writeAll(bytes, position));
  }
}

/**
 * Write a file as a whole or not at all.
 * @throws Llama2Error E_FILE
 */
export function writeWhole(path: string, content: string | Uint8Array): void {
  const file = new OutputFile(path);
  try {
    file.write(typeof content === "string" ? new TextEncoder().encode(content) : content, 0);
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

/** The real path of `path`, through links. If something is there already, it must be a file. */
function resolveTarget(path: string): string {
  const refuse = (what: string, why: string) => new Llama2Error("E_FILE", `cannot write ${what}: ${why}`);
  if (path === "") throw refuse('""', "the name is empty");
  const stat = writing(path, () => statSync(path, { throwIfNoEntry: false }));
  if (!stat) return path;
  if (!stat.isFile()) throw refuse(path, stat.isDirectory() ? "it is a directory" : "it is not a regular file");
  return writing(path, () => realpathSync(path));
}
