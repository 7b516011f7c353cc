/*
 * Tensors in the files of other programs, and how they become float32 rows.
 *
 * `Rows` is a matrix that can be read some rows at a time. The functions below make one from a stored tensor, and
 * from other Rows: the shards of a large model stacked or side by side, and Hugging Face's q and k in Meta's order.
 */
import { Llama2Error } from "../errors.ts";
import type { ByteSource } from "../files/bytes.ts";

/** The types of numbers that can be read, and their bytes per number. */
export const NUMBER_BYTES = { F32: 4, F16: 2, BF16: 2 } as const;
export type NumberType = keyof typeof NUMBER_BYTES;
export const isNumberType = (type: string): type is NumberType => Object.hasOwn(NUMBER_BYTES, type);

/** GGUF's int8: blocks of 32 numbers, a float16 scale and then 32 int8. */
export const Q8_BLOCK = 32;
export const Q8_BLOCK_BYTES = 2 + Q8_BLOCK;

/** A tensor in a file. */
export interface StoredTensor {
  /** Its name in the file. */
  name: string;
  /** A NumberType, Q8_0, or the file's name for a type that cannot be read. */
  type: string;
  shape: readonly number[];
  file: ByteSource;
  /** The offset of its first number in the file, in bytes. */
  offset: number;
  /** The bytes from its first number to its last. */
  bytes: number;
  /** The distance between neighbours along each dimension, in numbers. Absent: contiguous, in row order. */
  strides?: readonly number[];
}

/** A matrix of d rows and n columns that can be read some rows at a time. */
export interface Rows {
  readonly d: number;
  readonly n: number;
  /** Put `count` rows, from `first` on, into `into`, which has room for exactly these. */
  read(first: number, count: number, into: Float32Array): Promise<void>;
}

// ----------------------------------------------------------------------------
// from a file

/** A tensor that is not stored row by row is held in memory as a whole while it is read: at most this many bytes. */
const MAX_GATHERED = 2 ** 29;

/**
 * The rows of a matrix; a vector is one row.
 * @throws Llama2Error E_FORMAT for other shapes and for numbers that cannot be read, E_LIMIT
 */
export function rowsOf(tensor: StoredTensor): Rows {
  const { name, type, shape, file } = tensor;
  if (shape.length !== 1 && shape.length !== 2) {
    throw new Llama2Error("E_FORMAT", `${name} in ${file.name} has ${shape.length} dimensions, expected 1 or 2`);
  }
  const [d, n] = shape.length === 1 ? [1, shape[0]] : shape;
  if (type === "Q8_0") return blockRows(tensor, d, n);
  if (!isNumberType(type)) {
    throw new Llama2Error("E_FORMAT", `${name} in ${file.name} is ${type}, and F32, F16 and BF16 can be read`);
  }
  const strides = tensor.strides ?? [n, 1];
  const [rowStride, stride] = strides.length === 1 ? [n * strides[0], strides[0]] : strides;
  const numbers = { ...tensor, type };
  return stride === 1 || n === 1
    ? stridedRows(numbers, d, n, rowStride)
    : gatheredRows(numbers, d, n, rowStride, stride);
}

type Numbers = StoredTensor & { type: NumberType };

/** Rows that are contiguous, with a row every `rowStride` numbers. */
function stridedRows({ type, file, offset }: Numbers, d: number, n: number, rowStride: number): Rows {
  const size = NUMBER_BYTES[type];
  const read = async (first: number, count: number, into: Float32Array) => {
    if (rowStride === n || count === 1) {
      await readNumbers(file, type, offset + first * rowStride * size, into);
      return;
    }
    for (let row = 0; row < count; row++) {
      const target = into.subarray(row * n, (row + 1) * n);
      await readNumbers(file, type, offset + (first + row) * rowStride * size, target);
    }
  };
  return { d, n, read };
}

/** Rows that are not contiguous, as in a transposed matrix. It is all in memory from the first read to the last. */
function gatheredRows(tensor: Numbers, d: number, n: number, rowStride: number, stride: number): Rows {
  const { name, type, file, offset, bytes } = tensor;
  const length = bytes / NUMBER_BYTES[type];
  if (4 * length > MAX_GATHERED) {
    throw new Llama2Error("E_LIMIT", `${name} in ${file.name} is not stored row by row, and too large to be turned`);
  }
  let all: Float32Array | undefined;
  const read = async (first: number, count: number, into: Float32Array) => {
    if (!all) {
      all = new Float32Array(length);
      await readNumbers(file, type, offset, all);
    }
    for (let row = 0; row < count; row++) {
      for (let i = 0; i < n; i++) into[row * n + i] = all[(first + row) * rowStride + i * stride];
    }
    if (first + count === d) all = undefined;
  };
  return { d, n, read };
}

/** Rows of GGUF's int8 blocks, as float32. */
function blockRows({ file, offset }: StoredTensor, d: number, n: number): Rows {
  const read = async (first: number, count: number, into: Float32Array) => {
    const q = new Int8Array(count * n);
    const scales = new Float32Array((count * n) / Q8_BLOCK);
    await readBlocks(file, offset + ((first * n) / Q8_BLOCK) * Q8_BLOCK_BYTES, q, scales);
    for (let i = 0; i < q.length; i++) into[i] = q[i] * scales[Math.floor(i / Q8_BLOCK)];
  };
  return { d, n, read };
}

/** Read contiguous numbers of a type as float32, which is exact for all of these types. */
async function readNumbers(file: ByteSource, type: NumberType, offset: number, into: Float32Array): Promise<void> {
  const bytes = new Uint8Array(into.buffer, into.byteOffset, into.byteLength);
  if (type === "F32") {
    await file.read(bytes, offset);
    return;
  }
  // the 16-bit numbers are read into the second half of `into`, where each is used before it is overwritten
  const start = into.length * 2;
  await file.read(bytes.subarray(start), offset);
  const halves = new Uint16Array(into.buffer, into.byteOffset + start, into.length);
  if (type === "F16") {
    for (let i = 0; i < into.length; i++) into[i] = HALF_TO_FLOAT[halves[i]];
  } else {
    // bfloat16 is the upper half of a float32
    const words = new Uint32Array(into.buffer, into.byteOffset, into.length);
    for (let i = 0; i < into.length; i++) words[i] = halves[i] << 16;
  }
}

/** Read whole blocks of Q8_0, as many as `scales` has room for. */
export async function readBlocks(file: ByteSource, offset: number, q: Int8Array, scales: Float32Array): Promise<void> {
  const bytes = new Uint8Array(scales.length * Q8_BLOCK_BYTES);
  await file.read(bytes, offset);
  const int8 = new Int8Array(bytes.buffer);
  for (let block = 0; block < scales.length; block++) {
    const at = block * Q8_BLOCK_BYTES;
    scales[block] = HALF_TO_FLOAT[bytes[at] | (bytes[at + 1] << 8)];
    q.set(int8.subarray(at + 2, at + Q8_BLOCK_BYTES), block * Q8_BLOCK);
  }
}

/** The float32 of each float16: a lookup is faster than decoding its bits. */
const HALF_TO_FLOAT: Float32Array = Float32Array.from({ length: 2 ** 16 }, (_, half) => {
  const sign = half >> 15 === 0 ? 1 : -1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
});

// ----------------------------------------------------------------------------
// from other rows

/** Matrices of equal rows, one below the other. */
export function stacked(parts: readonly Rows[]): Rows {
  if (parts.length === 1) return parts[0];
  const { n } = parts[0];
  const read = async (first: number, count: number, into: Float32Array) => {
    let top = 0; // the row with which the part begins
    for (const part of parts) {
      const from = Math.max(first, top);
      const to = Math.min(first + count, top + part.d);
      if (from < to) await part.read(from - top, to - from, into.subarray((from - first) * n, (to - first) * n));
      top += part.d;
    }
  };
  return { d: parts.reduce((sum, part) => sum + part.d, 0), n, read };
}

/** Matrices with the same number of rows, side by side. */
export function sideBySide(parts: readonly Rows[]): Rows {
  if (parts.length === 1) return parts[0];
  const n = parts.reduce((sum, part) => sum + part.n, 0);
  const read = async (first: number, count: number, into: Float32Array) => {
    let left = 0; // the column with which the part begins
    for (const part of parts) {
      const block = new Float32Array(count * part.n);
      await part.read(first, count, block);
      for (let row = 0; row < count; row++) {
        into.set(block.subarray(row * part.n, (row + 1) * part.n), row * n + left);
      }
      left += part.n;
    }
  };
  return { d: parts[0].d, n, read };
}

/**
 * q or k of a Hugging Face model. RoPE rotates pairs of numbers. Here, as in Meta's models, a pair are neighbours; there,
 * the first numbers of all pairs of a head come before the second ones, and the rows of q and k are in that order.
 */
export function interleaved(rows: Rows, heads: number): Rows {
  const { d, n } = rows;
  const headSize = d / heads;
  const half = headSize / 2;
  const read = async (first: number, count: number, into: Float32Array) => {
    for (let done = 0; done < count; ) {
      const row = first + done;
      const head = row - (row % headSize);
      const end = Math.min(first + count, head + headSize);
      const pair = (row - head) >> 1; // the first pair that is read, then how many pairs
      const pairs = ((end - head + 1) >> 1) - pair;
      const halves = [new Float32Array(pairs * n), new Float32Array(pairs * n)];
      await rows.read(head + pair, pairs, halves[0]);
      await rows.read(head + half + pair, pairs, halves[1]);
      for (let r = row; r < end; r++) {
        const source = (((r - head) >> 1) - pair) * n;
        into.set(halves[(r - head) & 1].subarray(source, source + n), (r - first) * n);
      }
      done += end - row;
    }
  };
  return { d, n, read };
}
