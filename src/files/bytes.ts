/*
 * Sources of bytes: a file, a Blob, an array, HTTP ranges. Needs nothing but JavaScript.
 */
import { Llama2Error } from "../errors.ts";

/** Bytes with random access. */
export interface ByteSource {
  /** For messages. */
  readonly name: string;
  /** How many bytes it had when it was opened. */
  readonly size: number;
  /**
   * Fill `into` with the bytes from `offset` on.
   * @throws Llama2Error E_FORMAT if they end before; E_FILE if they cannot be read
   */
  read(into: Uint8Array, offset: number): Promise<void>;
  close(): void;
}

/** Bytes in a page: a Blob, such as a File that the user chose, or memory. */
export type BytesLike = Blob | ArrayBuffer | Uint8Array;

/** A folder; a single file is a folder of one. */
export interface Files {
  /** For messages. */
  readonly name: string;
  /** The names of its files. */
  list(): Promise<string[]>;
  /** @throws Llama2Error E_FILE if it cannot be opened, E_FORMAT if it is not a file */
  open(name: string): Promise<ByteSource>;
  /** For a single file: the folder that it is in, if there is one. */
  readonly folder?: Files;
}

/** The `length` bytes from `offset` on. */
export async function readBytes(source: ByteSource, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await source.read(bytes, offset);
  return bytes;
}

/** 1234567 -> "1,234,567 bytes" */
export const bytesText = (n: number | bigint): string => `${n.toLocaleString("en-US")} byte${n === 1 ? "" : "s"}`;

/** The error for a file that became shorter while it was read. */
export function shortened(name: string, size: number, end: number): Llama2Error {
  return new Llama2Error(
    "E_FORMAT",
    `${name} changed while it was read: it had ${bytesText(size)}, now it ends at byte ${end}`,
  );
}

/** A file of these bytes, as a folder of one. */
export function filesOf(name: string, bytes: Uint8Array): Files {
  const source: ByteSource = {
    name,
    size: bytes.length,
    async read(into, offset) {
      const found = bytes.subarray(offset, offset + into.length);
      if (found.length < into.length) throw shortened(name, bytes.length, bytes.length);
      into.set(found);
    },
    close() {},
  };
  return { name, list: async () => [name], open: async () => source };
}
