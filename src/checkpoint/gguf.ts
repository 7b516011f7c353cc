/*
 * GGUF, llama.cpp's format: typed keys and values, a list of the tensors with their offsets, and the tensors.
 */
import { Llama2Error } from "../errors.ts";
import { type ByteSource, readBytes } from "../files/bytes.ts";
import { decodeUtf8, quoted } from "./json.ts";
import { Q8_BLOCK, Q8_BLOCK_BYTES, type StoredTensor } from "./stored.ts";

export type GgufValue = number | bigint | boolean | string | GgufArray;
/** An array of values of one type. Of arrays that no code here uses, only the length is kept. */
export interface GgufArray {
  length: number;
  values?: readonly GgufValue[];
}

export interface GgufFile {
  values: ReadonlyMap<string, GgufValue>;
  tensors: Map<string, StoredTensor>;
}

const MAGIC = 0x46554747; // "GGUF"
/** The part before the tensors is mostly a vocabulary: about 10 MB for the largest. */
const MAX_HEAD_BYTES = 2 ** 27;
const FIRST_READ = 2 ** 20;
const MAX_TENSORS = 20_000;
const MAX_VALUES = 20_000;
const MAX_ARRAY = 2_000_000;

/** The types of values, by their numbers: how many bytes one has, and how it is read. */
const SCALARS: Record<number, { bytes: number; read: (view: DataView, at: number) => number | bigint | boolean }> = {
  0: { bytes: 1, read: (view, at) => view.getUint8(at) },
  1: { bytes: 1, read: (view, at) => view.getInt8(at) },
  2: { bytes: 2, read: (view, at) => view.getUint16(at, true) },
  3: { bytes: 2, read: (view, at) => view.getInt16(at, true) },
  4: { bytes: 4, read: (view, at) => view.getUint32(at, true) },
  5: { bytes: 4, read: (view, at) => view.getInt32(at, true) },
  6: { bytes: 4, read: (view, at) => view.getFloat32(at, true) },
  7: { bytes: 1, read: (view, at) => view.getUint8(at) !== 0 },
  10: { bytes: 8, read: (view, at) => view.getBigUint64(at, true) },
  11: { bytes: 8, read: (view, at) => view.getBigInt64(at, true) },
  12: { bytes: 8, read: (view, at) => view.getFloat64(at, true) },
};
const STRING = 8;
const ARRAY = 9;

/** The types of tensors that can be read, by their numbers in the file: a block of `numbers` numbers takes `bytes`. */
const TYPES: Record<number, { type: string; numbers: number; bytes: number }> = {
  0: { type: "F32", numbers: 1, bytes: 4 },
  1: { type: "F16", numbers: 1, bytes: 2 },
  8: { type: "Q8_0", numbers: Q8_BLOCK, bytes: Q8_BLOCK_BYTES },
  30: { type: "BF16", numbers: 1, bytes: 2 },
};
/** The types that are known but not supported. */
const OTHER_TYPES: Record<number, string> = {
  2: "Q4_0",
  3: "Q4_1",
  6: "Q5_0",
  7: "Q5_1",
  9: "Q8_1",
  10: "Q2_K",
  11: "Q3_K",
  12: "Q4_K",
  13: "Q5_K",
  14: "Q6_K",
  15: "Q8_K",
  16: "IQ2_XXS",
  17: "IQ2_XS",
  18: "IQ3_XXS",
  19: "IQ1_S",
  20: "IQ4_NL",
  21: "IQ3_S",
  22: "IQ2_S",
  23: "IQ4_XS",
  24: "I8",
  25: "I16",
  26: "I32",
  27: "I64",
  28: "F64",
  29: "IQ1_M",
  34: "TQ1_0",
  35: "TQ2_0",
  39: "MXFP4",
};

/**
 * Read the values of a GGUF file, and the places of its tensors.
 * @throws Llama2Error E_FORMAT, with the byte offset; E_LIMIT
 */
export async function openGguf(file: ByteSource): Promise<GgufFile> {
  const most = Math.min(file.size, MAX_HEAD_BYTES);
  for (let length = Math.min(most, FIRST_READ); ; length = Math.min(most, 4 * length)) {
    const head = await readBytes(file, 0, length);
    const reader = new HeadReader(head, file);
    try {
      return reader.read();
    } catch (error) {
      if (!(error instanceof MoreNeeded)) throw error;
      if (length === most) {
        throw new Llama2Error("E_LIMIT", `what precedes the tensors of ${file.name} takes more than ${most} bytes`);
      }
    }
  }
}

/** The part of the file that was read is too short. */
class MoreNeeded extends Error {}

class HeadReader {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly file: ByteSource;
  private at = 0;

  constructor(bytes: Uint8Array, file: ByteSource) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.file = file;
  }

  read(): GgufFile {
    if (this.uint32() !== MAGIC) throw this.refuse("it does not begin with GGUF");
    const version = this.uint32();
    if (version >= 2 ** 24) throw this.refuse("its numbers are big-endian");
    if (version !== 2 && version !== 3) throw this.refuse(`it is version ${version}, and versions 2 and 3 are known`);
    const tensorCount = this.count("tensors", 24, MAX_TENSORS);
    const valueCount = this.count("values", 13, MAX_VALUES);
    const values = this.values(valueCount);
    const tensors: StoredTensor[] = [];
    for (let i = 0; i < tensorCount; i++) tensors.push(this.tensor());
    return {
      values,
      tensors: this.place(
        tensors,
        alignmentOf(values, (why) => this.refuse(why)),
      ),
    };
  }

  // --------------------------------------------------------------------------
  // keys and values

  private values(count: number): Map<string, GgufValue> {
    const values = new Map<string, GgufValue>();
    for (let i = 0; i < count; i++) {
      const key = this.string();
      if (values.has(key)) throw this.refuse(`it has the key ${quoted(key)} twice`);
      const type = this.uint32();
      values.set(key, type === ARRAY ? this.array(key) : this.value(type, key));
    }
    return values;
  }

  private value(type: number, key: string): GgufValue {
    if (type === STRING) return this.string();
    const scalar = Object.hasOwn(SCALARS, type) ? SCALARS[type] : undefined;
    if (!scalar) throw this.refuse(`${quoted(key)} has the type ${type}, which is not known`);
    return scalar.read(this.view, this.advance(scalar.bytes));
  }

  private array(key: string): GgufArray {
    const type = this.uint32();
    if (type === ARRAY) throw this.refuse(`${quoted(key)} is an array of arrays`);
    const bytes = type === STRING ? 8 : Object.hasOwn(SCALARS, type) ? SCALARS[type].bytes : 1;
    const length = this.count(`items of ${quoted(key)}`, bytes, MAX_ARRAY);
    const keep = /^tokenizer\.ggml\.(tokens|scores|token_type)$/.test(key);
    if (!keep && type !== STRING && Object.hasOwn(SCALARS, type)) {
      this.advance(length * bytes);
      return { length };
    }
    const values: GgufValue[] = [];
    for (let i = 0; i < length; i++) {
      if (!keep && type === STRING) this.skipString();
      else values.push(this.value(type, key));
    }
    return keep ? { length, values } : { length };
  }

  // --------------------------------------------------------------------------
  // tensors

  /** A tensor from its entry. Its offset is still relative to the first tensor. */
  private tensor(): StoredTensor {
    const name = this.string();
    const dimensions = this.uint32();
    if (dimensions < 1 || dimensions > 4) throw this.refuse(`${quoted(name)} has ${dimensions} dimensions`);
    const shape = Array.from({ length: dimensions }, () => this.size(`a dimension of ${quoted(name)}`)).reverse();
    const number = this.uint32();
    const offset = this.size(`the offset of ${quoted(name)}`);
    const count = shape.reduce((product, size) => product * size, 1);
    const known = Object.hasOwn(TYPES, number) ? TYPES[number] : undefined;
    if (!known) {
      const other = Object.hasOwn(OTHER_TYPES, number) ? OTHER_TYPES[number] : undefined;
      if (!other) throw this.refuse(`${quoted(name)} has the type ${number}, which is not known`);
      return { name, type: other, shape, file: this.file, offset, bytes: 0 };
    }
    if ((shape.at(-1) as number) % known.numbers !== 0) {
      throw this.refuse(`the rows of ${quoted(name)} have ${shape.at(-1)} numbers, not a multiple of ${known.numbers}`);
    }
    const bytes = (count / known.numbers) * known.bytes;
    if (bytes > this.file.size) {
      throw this.refuse(
        `${quoted(name)} (${shape.join(" x ")} ${known.type}) takes ${bytes} bytes, and the file has ${this.file.size}`,
      );
    }
    return { name, type: known.type, shape, file: this.file, offset, bytes };
  }

  /** Make the offsets absolute. The tensors follow the head at the next multiple of the alignment. */
  private place(tensors: readonly StoredTensor[], alignment: number): Map<string, StoredTensor> {
    const start = Math.ceil(this.at / alignment) * alignment;
    const placed = new Map<string, StoredTensor>();
    let end = start;
    for (const tensor of tensors.toSorted((a, b) => a.offset - b.offset)) {
      const { name, bytes } = tensor;
      const offset = start + tensor.offset;
      if (tensor.offset % alignment !== 0) {
        throw this.refuse(`${quoted(name)} lies at ${tensor.offset}, not at a multiple of ${alignment}`);
      }
      if (offset < end) throw this.refuse(`${quoted(name)} at byte ${offset} begins within the tensor before it`);
      if (offset + bytes > this.file.size) {
        throw this.refuse(
          `${quoted(name)} ends at byte ${offset + bytes}, and the file has ${this.file.size}. It was cut short`,
        );
      }
      if (placed.has(name)) throw this.refuse(`it has the tensor ${quoted(name)} twice`);
      placed.set(name, { ...tensor, offset });
      end = offset + bytes;
    }
    return placed;
  }

  // --------------------------------------------------------------------------
  // the bytes

  /** The position of the next `length` bytes, which are skipped. */
  private advance(length: number): number {
    const at = this.at;
    if (at + length > this.file.size) throw this.refuse("it ends too early");
    if (at + length > this.bytes.length) throw new MoreNeeded();
    this.at += length;
    return at;
  }

  private uint32(): number {
    return this.view.getUint32(this.advance(4), true);
  }

  /** A 64-bit number that is a safe integer in JavaScript. */
  private size(what: string): number {
    const at = this.advance(8);
    const high = this.view.getUint32(at + 4, true);
    if (high >= 2 ** 21) throw this.refuse(`${what} is ${this.view.getBigUint64(at, true)}`);
    return high * 2 ** 32 + this.view.getUint32(at, true);
  }

  /** How many items follow, each of at least `bytes` bytes. */
  private count(what: string, bytes: number, most: number): number {
    const count = this.size(`the number of ${what}`);
    if (count * bytes > this.file.size - this.at) {
      throw this.refuse(`it says that ${count} ${what} follow, and ${this.file.size - this.at} bytes do`);
    }
    if (count > most) {
      throw new Llama2Error("E_LIMIT", `${this.file.name} has ${count} ${what}, and ${most} can be handled`);
    }
    return count;
  }

  private string(): string {
    const length = this.size("the length of a text");
    const at = this.advance(length);
    const text = decodeUtf8(this.bytes.subarray(at, at + length));
    if (text === undefined) throw this.refuse("a text is not UTF-8");
    return text;
  }

  private skipString(): void {
    this.advance(this.size("the length of a text"));
  }

  private refuse(why: string): Llama2Error {
    return new Llama2Error("E_FORMAT", `${this.file.name} is refused at byte ${this.at} of its GGUF head: ${why}`);
  }
}

function alignmentOf(values: ReadonlyMap<string, GgufValue>, refuse: (why: string) => Llama2Error): number {
  const alignment = values.get("general.alignment") ?? 32;
  if (typeof alignment !== "number" || alignment < 8 || alignment > 2 ** 16 || Math.log2(alignment) % 1 !== 0) {
    const found =
      typeof alignment === "string" ? quoted(alignment) : typeof alignment === "object" ? "an array" : alignment;
    throw refuse(`general.alignment is ${found}, expected a power of two from 8 to 65536`);
  }
  return alignment;
}
