/*
 * Zip files as PyTorch writes them, and others.
 */
import { crc32 } from "node:zlib";

export interface Entry {
  name: string;
  data: Uint8Array;
  /** What the records say in place of the truth. */
  local?: Partial<Record<"flags" | "method" | "crc" | "size", number>> & { name?: string };
  central?: Partial<
    Record<"flags" | "method" | "crc" | "size" | "packed" | "offset" | "attributes" | "disk", number>
  > & {
    name?: string;
    extra?: Uint8Array;
    comment?: Uint8Array;
  };
}

export interface ZipOptions {
  /** Bytes in front of the first record. */
  before?: Uint8Array;
  /** Bytes between the last record and the directory. */
  gap?: Uint8Array;
  after?: Uint8Array;
  /** Write the 64-bit end, as PyTorch does. */
  end64?: boolean;
  /** Change the bytes of the ends: the 64-bit one, its locator, the short one. */
  patchEnd?: (end64: DataView, locator: DataView, end: DataView) => void;
  align?: number;
}

const FLAGS = 0x0808;

/** The bytes of a zip file. Data are aligned to 64 bytes by an extra field, and sizes follow them. */
export function zipBytes(entries: readonly Entry[], options: ZipOptions = {}): Uint8Array {
  const parts: Uint8Array[] = [];
  let at = 0;
  const add = (bytes: Uint8Array) => {
    parts.push(bytes);
    at += bytes.length;
  };
  add(options.before ?? new Uint8Array());
  const offsets = entries.map((entry) => {
    const offset = at;
    add(recordBytes(entry, at, options.align ?? 64));
    return offset;
  });
  add(options.gap ?? new Uint8Array());
  const start = at;
  entries.forEach((entry, i) => {
    add(centralBytes(entry, offsets[i]));
  });
  const bytes = at - start;
  const end64 = struct(56, [
    [0, 4, 0x06064b50],
    [4, 8, 44],
    [12, 2, 0x031e],
    [14, 2, 45],
    [24, 8, entries.length],
    [32, 8, entries.length],
    [40, 8, bytes],
    [48, 8, start],
  ]);
  const locator = struct(20, [
    [0, 4, 0x07064b50],
    [8, 8, at],
    [16, 4, 1],
  ]);
  const end = struct(22, [
    [0, 4, 0x06054b50],
    [8, 2, entries.length],
    [10, 2, entries.length],
    [12, 4, bytes],
    [16, 4, start],
  ]);
  options.patchEnd?.(end64, locator, end);
  if (options.end64 !== false) {
    add(bytesOf(end64));
    add(bytesOf(locator));
  }
  add(bytesOf(end));
  add(options.after ?? new Uint8Array());
  return new Uint8Array(Buffer.concat(parts));
}

/** A record that does not depend on where it lies, and the fields of a directory's entry but for the offset. */
const records = new WeakMap<Entry, Uint8Array>();
const centrals = new WeakMap<Entry, Uint8Array>();

function recordBytes(entry: Entry, at: number, align: number): Uint8Array {
  const known = align === 1 ? records.get(entry) : undefined;
  if (known) return known;
  const { name, data, local = {} } = entry;
  const nameBytes = Buffer.from(local.name ?? name);
  const flags = local.flags ?? (data.length === 0 ? 0x0800 : FLAGS);
  const follow = (flags & 8) !== 0;
  const crc = local.crc ?? (follow ? 0 : crc32(data));
  const size = local.size ?? (follow ? 0 : data.length);
  const padding = (align - ((at + 30 + nameBytes.length + 4) % align)) % align;
  const extra = Buffer.concat([Buffer.from("FB"), bytesOf(struct(2, [[0, 2, padding]])), Buffer.alloc(padding, "Z")]);
  const head = struct(30, [
    [0, 4, 0x04034b50],
    [6, 2, flags],
    [8, 2, local.method ?? 0],
    [14, 4, crc],
    [18, 4, size],
    [22, 4, size],
    [26, 2, nameBytes.length],
    [28, 2, extra.length],
  ]);
  const descriptor = struct(16, [
    [0, 4, 0x08074b50],
    [4, 4, crc32(data)],
    [8, 4, data.length],
    [12, 4, data.length],
  ]);
  const end = follow ? bytesOf(descriptor) : new Uint8Array();
  const record = Buffer.concat([bytesOf(head), nameBytes, extra, data, end]);
  if (align === 1) records.set(entry, record);
  return record;
}

function centralBytes(entry: Entry, offset: number): Uint8Array {
  const { name, data, central = {} } = entry;
  const known = central.offset === undefined ? centrals.get(entry) : undefined;
  if (known) {
    const bytes = new Uint8Array(known);
    new DataView(bytes.buffer).setUint32(42, offset, true);
    return bytes;
  }
  const nameBytes = Buffer.from(central.name ?? name);
  const { extra = new Uint8Array(), comment = new Uint8Array() } = central;
  const flags = central.flags ?? (data.length === 0 ? 0x0800 : FLAGS);
  const size = central.size ?? data.length;
  const head = struct(46, [
    [0, 4, 0x02014b50],
    [8, 2, flags],
    [10, 2, central.method ?? 0],
    [16, 4, central.crc ?? crc32(data)],
    [20, 4, central.packed ?? size],
    [24, 4, size],
    [28, 2, nameBytes.length],
    [30, 2, extra.length],
    [32, 2, comment.length],
    [34, 2, central.disk ?? 0],
    [38, 4, central.attributes ?? 0],
    [42, 4, central.offset ?? offset],
  ]);
  const bytes = Buffer.concat([bytesOf(head), nameBytes, extra, comment]);
  if (central.offset === undefined) centrals.set(entry, bytes);
  return bytes;
}

/** Little-endian fields: where, how many bytes, which number. */
export function struct(
  length: number,
  fields: readonly (readonly [at: number, bytes: number, value: number])[],
): DataView {
  const view = new DataView(new ArrayBuffer(length));
  for (const [at, bytes, value] of fields) {
    if (bytes === 2) view.setUint16(at, value, true);
    else if (bytes === 4) view.setUint32(at, value, true);
    else view.setBigUint64(at, BigInt(value), true);
  }
  return view;
}

export const bytesOf = (view: DataView): Uint8Array => new Uint8Array(view.buffer);
