/*
 * Node's files, as sources of bytes.
 */
import { readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { ByteSource, Files } from "./bytes.ts";
import { InputFile } from "./inputFile.ts";

/**
 * The file or the folder at `path`. Nothing is opened yet.
 *
 * A file is read synchronously, in pieces that take a fraction of a millisecond: a read that goes through Node's thread
 * pool takes longer than the bytes do to come from the system's cache.
 */
export function filesAt(path: string): Files {
  const isFolder = isDirectory(path);
  return {
    name: path,
    list: async () => (isFolder ? readdirSync(path) : [basename(path)]),
    open: async (name) => fileAt(isFolder ? join(path, name) : path),
    folder: isFolder ? undefined : folderAt(dirname(path)),
  };
}

/** The folder at `path`. If there is none, it has no files. */
const folderAt = (path: string): Files => ({
  name: path,
  list: async () => (isDirectory(path) ? readdirSync(path) : []),
  open: async (name) => fileAt(join(path, name)),
});

/** Whether it is one. Whatever else is wrong with a path is said when it is opened. */
function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** @throws Llama2Error E_FILE if it cannot be opened, E_FORMAT if it is a directory, a pipe or a device */
export function fileAt(path: string): ByteSource {
  const file = new InputFile(path);
  return {
    name: path,
    size: file.size,
    read: async (into, offset) => file.read(into, offset),
    close: () => file.close(),
  };
}
