/*
 * The container of a PyTorch checkpoint: a zip file, exactly as torch.save writes it.
 *
 * Zip files can be read in two ways: from the directory at their end, or record by record. A malicious file can hold
 * different models for the two. So both are compared: the records must follow each other from the first byte, then the
 * directory and its end, and both must agree. All entries are stored uncompressed, so an entry is a range of the file and
 * nothing has to be unpacked.
 */
import { Llama2Error } from "../../errors.ts";
import type { ByteSource } from "../../files/bytes.ts";
import { decodeUtf8, quoted } from "../json.ts";

/** The range of an entry's bytes in the file. */
export interface ZipEntry {
  offset: number;
  size: number;
}

/** A training checkpoint of 80 layers has about 2,200 entries. */
const MAX_ENTRIES = 5000;
const MAX_DIRECTORY = 2 ** 20;

/** The records of a zip file, and how many bytes the fixed part of each has. */
const LOCAL = { signature: 0x04034b50, bytes: 30 };
const DESCRIPTOR = { signature: 0x08074b50 };
const CENTRAL = { signature: 0x02014b50, bytes: 46 };
const END = { signature: 0x06054b50, bytes: 22 };
const END64 = { signature: 0x06064b50, bytes: 56 };
const LOCATOR64 = { signature: 0x07064b50, bytes: 20 };

/** Flag: sizes and checksum come after the data, and are 0 before it. */
const SIZES_FOLLOW = 1 << 3;
const UTF8_NAMES = 1 << 11;
/** Stands for a number that is in the 64-bit extra field. */
const FULL = 0xffffffff;

/** An entry of the directory. */
interface Central extends ZipEntry {
  name: string;
  nameBytes: Uint8Array;
  flags: number;
  crc: number;
  wide: boolean; // it has 64-bit numbers
}

type Refuse = (why: string) => Llama2Error;

/**
 * The entries of a PyTorch zip by their names, without the folder that all of them are in.
 * @throws Llama2Error E_FORMAT for anything that torch.save does not write, E_LIMIT for too many entries
 */
export async function readZip(file: ByteSource): Promise<Map<string, ZipEntry>> {
  const refuse: Refuse = (why) => new Llama2Error("E_FORMAT", `${file.name} is not a file of torch.save: ${why}`);
  const { start, end, count } = await readEnd(file, refuse);
  const directory = await bytesAt(file, start, end - start);
  const entries = parseDirectory(directory, count, start, refuse);
  await checkRecords(file, entries, start, refuse);
  return withoutFolder(entries, refuse);
}

/** Where the directory begins and ends, and how many entries it has. */
async function readEnd(file: ByteSource, refuse: Refuse): Promise<{ start: number; end: number; count: number }> {
  const length = Math.min(file.size, END.bytes + LOCATOR64.bytes + END64.bytes);
  if (length < END.bytes) throw refuse("it is too short");
  const tail = await bytesAt(file, file.size - length, length);
  const at = length - END.bytes;
  if (tail.getUint32(at, true) !== END.signature) {
    throw refuse(
      "it does not end with the directory of a zip file. It was cut short, or has something else at its end",
    );
  }
  const disks = tail.getUint16(at + 4, true) + tail.getUint16(at + 6, true);
  const counts = [tail.getUint16(at + 8, true), tail.getUint16(at + 10, true)];
  const bytes = tail.getUint32(at + 12, true);
  const start = tail.getUint32(at + 16, true);
  if (disks !== 0 || counts[0] !== counts[1]) throw refuse("its directory speaks of several disks");
  if (tail.getUint16(at + 20, true) !== 0) throw refuse("it has a comment");

  const endOf64 = file.size - END.bytes - LOCATOR64.bytes - END64.bytes;
  const found = { start, bytes, count: counts[0], end: file.size - END.bytes };
  if (endOf64 >= 0 && tail.getUint32(END64.bytes, true) === LOCATOR64.signature) {
    Object.assign(found, parseEnd64(tail, endOf64, found, refuse), { end: endOf64 });
  }
  if (found.count > MAX_ENTRIES) {
    throw new Llama2Error("E_LIMIT", `${file.name} has ${found.count} entries, and ${MAX_ENTRIES} can be handled`);
  }
  if (found.start + found.bytes !== found.end) {
    throw refuse(
      `its directory lies at bytes ${found.start} to ${found.start + found.bytes}, but ends at ${found.end}`,
    );
  }
  if (found.bytes > MAX_DIRECTORY) throw refuse(`its directory has ${found.bytes} bytes`);
  return found;
}

/** The same in the 64-bit form, which begins at byte `position` of the file. The short form must agree. */
function parseEnd64(
  tail: DataView,
  position: number,
  short: { start: number; bytes: number; count: number },
  refuse: Refuse,
): { start: number; bytes: number; count: number } {
  const at = END64.bytes;
  const [disk, disks] = [tail.getUint32(at + 4, true), tail.getUint32(at + 16, true)];
  if (tail.getUint32(0, true) !== END64.signature || number64(tail, at + 8) !== position) {
    throw refuse("the 64-bit end of its directory is not where it should be");
  }
  const inDisks = tail.getUint32(16, true) + tail.getUint32(20, true);
  if (disk !== 0 || disks !== 1 || inDisks !== 0) throw refuse("its directory speaks of several disks");
  if (number64(tail, 4) !== END64.bytes - 12) throw refuse("the 64-bit end of its directory has another length");
  const counts = [number64(tail, 24), number64(tail, 32)];
  const found = { start: number64(tail, 48), bytes: number64(tail, 40), count: counts[0] };
  const same =
    counts[0] === counts[1] &&
    short.count === Math.min(found.count, 0xffff) &&
    short.bytes === Math.min(found.bytes, FULL) &&
    short.start === Math.min(found.start, FULL);
  if (!same) throw refuse("the two ends of its directory differ");
  return found;
}

/** The entries of the directory, which begins at byte `start` of the file. */
function parseDirectory(directory: DataView, count: number, start: number, refuse: Refuse): Central[] {
  const entries: Central[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const where = `entry ${i} of its directory, at byte ${start + at},`;
    if (at + CENTRAL.bytes > directory.byteLength || directory.getUint32(at, true) !== CENTRAL.signature) {
      throw refuse(`${where} is not an entry`);
    }
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((field) => directory.getUint16(at + field, true));
    const end = at + CENTRAL.bytes + nameLength + extraLength;
    if (end > directory.byteLength) throw refuse(`${where} is cut short`);
    const entry = parseCentral(directory, at, nameLength, extraLength);
    if (typeof entry === "string") throw refuse(`${where} ${entry}`);
    if (commentLength !== 0) throw refuse(`${where} has a comment`);
    entries.push(entry);
    at = end;
  }
  if (at !== directory.byteLength)
    throw refuse(`its directory has ${directory.byteLength - at} bytes more than entries`);
  return entries;
}

/** An entry of the directory, or what is wrong with it. */
function parseCentral(view: DataView, at: number, nameLength: number, extraLength: number): Central | string {
  const flags = view.getUint16(at + 8, true);
  const method = view.getUint16(at + 10, true);
  const sizes = [view.getUint32(at + 20, true), view.getUint32(at + 24, true)];
  const attributes = view.getUint32(at + 38, true);
  const nameBytes = new Uint8Array(view.buffer, view.byteOffset + at + CENTRAL.bytes, nameLength);
  const name = decodeUtf8(nameBytes);
  if (name === undefined) return "has a name that is not UTF-8";
  if ((flags & 1) !== 0) return `(${quoted(name)}) is encrypted`;
  if ((flags & ~(SIZES_FOLLOW | UTF8_NAMES)) !== 0) return `(${quoted(name)}) has the flags ${flags}`;
  if (method !== 0) return `(${quoted(name)}) is compressed (method ${method}), and torch.save compresses nothing`;
  if (((attributes >>> 16) & 0xf000) === 0xa000) return `(${quoted(name)}) is a link`;
  if (view.getUint16(at + 34, true) !== 0) return `(${quoted(name)}) is on another disk`;

  const extra = new DataView(view.buffer, view.byteOffset + at + CENTRAL.bytes + nameLength, extraLength);
  const short = [sizes[1], sizes[0], view.getUint32(at + 42, true)]; // in the order of the extra field
  const numbers = widen(short, extra);
  if (!numbers) return `(${quoted(name)}) has an extra field that torch.save does not write`;
  const [size, packed, offset] = numbers;
  if (size !== packed) return `(${quoted(name)}) has two sizes, ${packed} and ${size}`;
  return { name, nameBytes, flags, crc: view.getUint32(at + 16, true), offset, size, wide: extraLength > 0 };
}

/** The numbers, with those that are FULL taken from the extra field, which must have these and nothing else. */
function widen(numbers: number[], extra: DataView): number[] | undefined {
  const missing = numbers.filter((n) => n === FULL).length;
  if (missing === 0) return extra.byteLength === 0 ? numbers : undefined;
  if (extra.byteLength !== 4 + 8 * missing) return undefined;
  if (extra.getUint16(0, true) !== 1 || extra.getUint16(2, true) !== 8 * missing) return undefined;
  let at = 4;
  return numbers.map((n) => {
    if (n !== FULL) return n;
    at += 8;
    return number64(extra, at - 8);
  });
}

/**
 * Compare each record with its entry; records must fill the file up to the directory. After that the entries' offsets
 * point to their data.
 */
async function checkRecords(file: ByteSource, entries: Central[], directory: number, refuse: Refuse): Promise<void> {
  let at = 0;
  for (const entry of entries.toSorted((a, b) => a.offset - b.offset)) {
    const where = `the record of ${quoted(entry.name)}, at byte ${entry.offset},`;
    if (entry.offset !== at) throw refuse(`${where} should begin at byte ${at}`);
    const headBytes = LOCAL.bytes + entry.nameBytes.length;
    if (at + headBytes > directory) throw refuse(`${where} reaches into the directory`);
    const head = await bytesAt(file, at, headBytes);
    if (!isRecordOf(entry, head)) throw refuse(`${where} and the directory differ`);
    entry.offset = at + headBytes + head.getUint16(28, true);
    at = entry.offset + entry.size;
    if ((entry.flags & SIZES_FOLLOW) !== 0) {
      const bytes = entry.wide ? 24 : 16;
      if (at + bytes > directory) throw refuse(`${where} reaches into the directory`);
      if (!isDescriptorOf(entry, await bytesAt(file, at, bytes))) throw refuse(`${where} has other sizes at its end`);
      at += bytes;
    }
    if (at > directory) throw refuse(`${where} reaches into the directory`);
  }
  if (at !== directory) throw refuse(`its last record ends at byte ${at}, and its directory begins at ${directory}`);
}

function isRecordOf({ nameBytes, flags, crc, size }: Central, head: DataView): boolean {
  const name = new Uint8Array(head.buffer, LOCAL.bytes);
  const [localCrc, packed, unpacked] = [14, 18, 22].map((field) => head.getUint32(field, true));
  const follow = (flags & SIZES_FOLLOW) !== 0;
  const sizes = follow ? [0, 0, 0] : [crc, size, size];
  return (
    head.getUint32(0, true) === LOCAL.signature &&
    head.getUint16(6, true) === flags &&
    head.getUint16(8, true) === 0 &&
    head.getUint16(26, true) === nameBytes.length &&
    nameBytes.every((byte, i) => byte === name[i]) &&
    localCrc === sizes[0] &&
    packed === sizes[1] &&
    unpacked === sizes[2]
  );
}

function isDescriptorOf({ crc, size, wide }: Central, view: DataView): boolean {
  const sizes = wide ? [number64(view, 8), number64(view, 16)] : [view.getUint32(8, true), view.getUint32(12, true)];
  return (
    view.getUint32(0, true) === DESCRIPTOR.signature &&
    view.getUint32(4, true) === crc &&
    sizes[0] === size &&
    sizes[1] === size
  );
}

/** The names that torch.save gives to entries. */
const ENTRY =
  /^(data\.pkl|byteorder|version|\.data\/serialization_id|\.format_version|\.storage_alignment|data\/\d{1,9})$/;

/** The entries by their names without their common folder. */
function withoutFolder(entries: readonly Central[], refuse: Refuse): Map<string, ZipEntry> {
  const folder = /^[^/\\\0]+\//.exec(entries[0]?.name ?? "")?.[0];
  const byName = new Map<string, ZipEntry>();
  for (const { name, offset, size } of entries) {
    const inner = folder !== undefined && name.startsWith(folder) ? name.slice(folder.length) : "";
    if (/^(code\/|constants\.pkl)/.test(inner)) throw refuse("it is a program (TorchScript), not a checkpoint");
    if (folder === "../" || folder === "./" || !ENTRY.test(inner)) throw refuse(`it has an entry ${quoted(name)}`);
    if (byName.has(inner)) throw refuse(`it has two entries ${quoted(name)}`);
    byName.set(inner, { offset, size });
  }
  return byName;
}

async function bytesAt(file: ByteSource, offset: number, length: number): Promise<DataView> {
  const bytes = new Uint8Array(length);
  await file.read(bytes, offset);
  return new DataView(bytes.buffer);
}

/** A 64-bit number; exact where it is a size of a file that exists. */
const number64 = (view: DataView, at: number): number => Number(view.getBigUint64(at, true));
