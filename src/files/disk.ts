/*
 * Files on disk as sources of bytes, in Node.
 */
import { readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { ByteSource, Files } from "./bytes.ts";
import { InputFile } from "./inputFile.ts";

/**
 * The file or the folder at `path`. Nothing is opened yet.
 *
 * A file is read synchronously, in pieces that take a fraction of a millisecond: going through Node's thread pool takes
 * longer than reading a piece from the system's file cache.
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

/** Whether it is a directory. Other problems of a path are reported when it is opened. */
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
