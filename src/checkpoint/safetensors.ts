/*
 * safetensors: a length, a JSON header with the place of each tensor, and the tensors.
 */
import { Llama2Error } from "../errors.ts";
import type { ByteSource } from "../files/bytes.ts";
import { isJsonObject, parseJsonObject, quoted } from "./json.ts";
import type { StoredTensor } from "./stored.ts";

/** The header of a model of 80 layers has about 70,000 bytes. */
const MAX_HEADER_BYTES = 2 ** 24;
const MAX_TENSORS = 20_000;

/** The format's types, and the bits per number. */
const BITS: Record<string, number> = {
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E4M3: 8,
  F8_E5M2: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  I64: 64,
  U64: 64,
  F64: 64,
};

/**
 * The tensors of a safetensors file by their names. They must fill it without holes or overlaps.
 * @throws Llama2Error E_FORMAT, E_LIMIT
 */
export async function openSafetensors(file: ByteSource): Promise<Map<string, StoredTensor>> {
  const refuse = (why: string) => new Llama2Error("E_FORMAT", `${file.name} is not a safetensors file: ${why}`);
  if (file.size < 10) throw refuse(`it has ${file.size} bytes`);
  const prefix = new Uint8Array(9);
  await file.read(prefix, 0);
  const headerBytes = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (headerBytes > Math.min(MAX_HEADER_BYTES, file.size - 8)) {
    const most = headerBytes > file.size - 8 ? `the file ${file.size}` : `headers at most ${MAX_HEADER_BYTES}`;
    throw refuse(`its header has ${headerBytes} bytes by the first eight, and ${most}`);
  }
  if (prefix[8] !== 0x7b) throw refuse("its header, at byte 8, does not begin with {");
  const header = new Uint8Array(headerBytes);
  await file.read(header, 8);
  const { __metadata__: metadata, ...entries } = parseJsonObject(header, file.name);
  if (metadata !== undefined && !(isJsonObject(metadata) && Object.values(metadata).every(isString))) {
    throw refuse("its __metadata__ is not an object of texts");
  }

  const names = Object.keys(entries);
  if (names.length > MAX_TENSORS) {
    throw new Llama2Error("E_LIMIT", `${file.name} has ${names.length} tensors, and ${MAX_TENSORS} can be handled`);
  }
  const tensors = names.map((name) => parseEntry(name, entries[name], file, 8 + headerBytes, refuse));
  checkPlaces(tensors, 8 + headerBytes, file.size, refuse);
  return new Map(tensors.map((tensor) => [tensor.name, tensor]));
}

/** A tensor from its entry. `start` is the offset of the first tensor in the file. */
function parseEntry(
  name: string,
  entry: unknown,
  file: ByteSource,
  start: number,
  refuse: (why: string) => Llama2Error,
): StoredTensor {
  const where = `the entry of ${quoted(name)}`;
  if (!isJsonObject(entry)) throw refuse(`${where} is not an object`);
  const { dtype, shape, data_offsets: offsets, ...others } = entry;
  const other = Object.keys(others)[0];
  if (other !== undefined) throw refuse(`${where} has ${quoted(other)}`);
  if (!isString(dtype) || !Object.hasOwn(BITS, dtype)) {
    throw refuse(`${where} has ${isString(dtype) ? `the dtype ${quoted(dtype)}` : "no dtype"}`);
  }
  if (!isSizes(shape) || shape.length > 8) throw refuse(`${where} has an invalid shape`);
  if (!isSizes(offsets) || offsets.length !== 2) throw refuse(`${where} has invalid data_offsets`);
  const [from, to] = offsets;
  const bytes = (shape.reduce((product, size) => product * size, 1) * BITS[dtype]) / 8;
  if (to - from !== bytes) {
    throw refuse(`${where} says ${dtype} [${shape.join(", ")}], which take ${bytes} bytes, and has ${to - from}`);
  }
  return { name, type: dtype, shape, file, offset: start + from, bytes };
}

/** @throws Llama2Error E_FORMAT for tensors that overlap, holes between them, and a file of another size */
function checkPlaces(
  tensors: readonly StoredTensor[],
  start: number,
  size: number,
  refuse: (why: string) => Llama2Error,
): void {
  let at = start;
  for (const { name, offset, bytes } of tensors.toSorted((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    if (offset !== at) {
      throw refuse(`${quoted(name)} begins at byte ${offset}, and ${at} would follow what is before it`);
    }
    at += bytes;
  }
  if (at !== size) throw refuse(`its tensors end at byte ${at}, and the file has ${size}`);
}

const isString = (value: unknown): value is string => typeof value === "string";

const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
