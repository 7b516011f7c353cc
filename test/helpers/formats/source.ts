/*
 * Files and folders in memory, with a record of what was read.
 */
import type { ByteSource, Files } from "../../../src/files/bytes.ts";

/** A file of these bytes. Reading past its end is a mistake of the reader, and no typed error. */
export function memoryFile(bytes: Uint8Array, name = "file"): ByteSource & { bytesRead: number } {
  const file = {
    name,
    size: bytes.length,
    bytesRead: 0,
    async read(into: Uint8Array, offset: number): Promise<void> {
      if (!Number.isSafeInteger(offset) || offset < 0 || offset + into.length > bytes.length) {
        throw new Error(`bytes ${offset} to ${offset + into.length} of ${bytes.length} were asked for`);
      }
      into.set(bytes.subarray(offset, offset + into.length));
      file.bytesRead += into.length;
    },
    close: () => {},
  };
  return file;
}

/** A folder of such files. */
export function memoryFiles(files: Record<string, Uint8Array | string>, name = "folder"): Files {
  return {
    name,
    list: async () => Object.keys(files),
    async open(file) {
      const content = files[file];
      return memoryFile(typeof content === "string" ? new TextEncoder().encode(content) : content, file);
    },
  };
}

/** A file of these bytes and zeros after them, of any size, and what was read of it. */
export function sparseSource(
  bytes: Uint8Array,
  size: number,
  name = "file",
): ByteSource & { bytesRead: number; largestRead: number } {
  const file = {
    name,
    size,
    bytesRead: 0,
    largestRead: 0,
    async read(into: Uint8Array, offset: number): Promise<void> {
      if (!Number.isSafeInteger(offset) || offset < 0 || offset + into.length > size) {
        throw new Error(`bytes ${offset} to ${offset + into.length} of ${size} were asked for`);
      }
      const held = bytes.subarray(offset, offset + into.length);
      into.set(held);
      into.fill(0, held.length);
      file.bytesRead += into.length;
      file.largestRead = Math.max(file.largestRead, into.length);
    },
    close: () => {},
  };
  return file;
}
