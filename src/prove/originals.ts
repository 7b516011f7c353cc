/*
 * The tensors of a model as its files have them, row by row in float64. Apart from the names of tensors, nothing here uses
 * the code that loads models, because that code is checked against this.
 */
import type { Tensor } from "../checkpoint/llama2c/tensors.ts";
import { GGUF, HUGGING_FACE, META, nameOf } from "../checkpoint/names.ts";
import type { Recognised } from "../checkpoint/open.ts";
import type { StoredTensor } from "../checkpoint/stored.ts";
import { type ByteSource, readBytes } from "../files/bytes.ts";
import type { TensorName } from "../llama2/weights.ts";

/** Some rows of a matrix, one after the other. */
export interface RowPiece {
  first: number;
  rows: Float64Array; // (count, n)
}

export interface Originals {
  /** Whether RoPE rotates numbers j and j + half of a head, as in Hugging Face's models, and not neighbours. */
  readonly halfSplit: boolean;
  /** The rows of a tensor, n numbers each, in the order of the file. A vector is one row. */
  rows(name: TensorName, layer: number, d: number, n: number): AsyncGenerator<RowPiece, void>;
}

/** The original tensors of an open model. */
export function originalsOf(model: Recognised): Originals {
  const { format, tensors } = model;
  if (format.startsWith("llama2c-v")) return llama2cTensors(tensors as readonly Tensor[], model.files[0]);
  return namedTensors(tensors as readonly StoredTensor[], format);
}

/** About how many bytes are read at once. */
const PIECE_BYTES = 2 ** 24;

// ----------------------------------------------------------------------------
// llama2.c's files: all layers of a tensor, float32 or int8 with a scale for each group

function llama2cTensors(tensors: readonly Tensor[], file: ByteSource): Originals {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  return {
    halfSplit: false,
    async *rows(name, layer, d, n) {
      const tensor = byName.get(name);
      if (!tensor) throw new Error(`there is no ${name}`);
      const { groupSize, size } = tensor;
      const start = tensor.offset + layer * tensor.bytes;
      const scales = groupSize === 0 ? undefined : await readBytes(file, start + size, (4 * size) / groupSize);
      const scaleOf = scales && new DataView(scales.buffer);
      const width = scaleOf ? 1 : 4;
      const step = Math.max(1, Math.floor(PIECE_BYTES / (width * n)));
      for (let first = 0; first < d; first += step) {
        const count = Math.min(step, d - first);
        const view = new DataView((await readBytes(file, start + width * first * n, width * count * n)).buffer);
        const rows = new Float64Array(count * n);
        for (let i = 0; i < rows.length; i++) {
          rows[i] = scaleOf
            ? view.getInt8(i) * scaleOf.getFloat32(4 * Math.floor((first * n + i) / groupSize), true)
            : view.getFloat32(4 * i, true);
        }
        yield { first, rows };
      }
    },
  };
}

// ----------------------------------------------------------------------------
// other programs' files: a tensor of each layer by its name, which may be in several shards

/** Meta's shards split these matrices by columns, all others by rows. */
const COLUMNS: readonly TensorName[] = ["tokenEmbeddingTable", "wo", "w2"];

function namedTensors(tensors: readonly StoredTensor[], format: Recognised["format"]): Originals {
  const convention = format === "hf" ? HUGGING_FACE : format === "gguf" ? GGUF : META;
  const byName = new Map<string, StoredTensor[]>();
  for (const tensor of tensors) {
    const name = tensor.name.replace(/^(_orig_mod|module)\./, "");
    byName.set(name, [...(byName.get(name) ?? []), tensor]);
  }
  return {
    halfSplit: format === "hf",
    async *rows(name, layer, d, n) {
      const parts = byName.get(nameOf(convention, name, layer)) ?? [];
      if (parts.length === 0) throw new Error(`there is no ${name} of layer ${layer}`);
      if (d > 1 && parts.length > 1 && COLUMNS.includes(name)) {
        yield* besideEachOther(parts, d, n);
        return;
      }
      let first = 0;
      for (const part of d > 1 ? parts : parts.slice(0, 1)) {
        const count = part.shape.length > 1 ? part.shape[0] : 1;
        for (const [at, rows] of slices(count, n)) yield { first: first + at, rows: await readRows(part, at, rows, n) };
        first += count;
      }
    },
  };
}

async function* besideEachOther(parts: readonly StoredTensor[], d: number, n: number): AsyncGenerator<RowPiece, void> {
  for (const [first, count] of slices(d, n)) {
    const rows = new Float64Array(count * n);
    let left = 0;
    for (const part of parts) {
      const width = part.shape[1];
      const some = await readRows(part, first, count, width);
      for (let row = 0; row < count; row++) {
        rows.set(some.subarray(row * width, (row + 1) * width), row * n + left);
      }
      left += width;
    }
    yield { first, rows };
  }
}

/** Cut d rows into pieces: the first row of each and how many it has. */
function* slices(d: number, n: number): Generator<[first: number, count: number]> {
  const step = Math.max(1, Math.floor(PIECE_BYTES / (4 * n)));
  for (let first = 0; first < d; first += step) yield [first, Math.min(step, d - first)];
}

/** Some rows of a tensor, (count, n): each number is read from where shape and strides put it. */
async function readRows(tensor: StoredTensor, first: number, count: number, n: number): Promise<Float64Array> {
  const { type, file, offset, shape } = tensor;
  const rows = new Float64Array(count * n);
  if (type === "Q8_0") {
    // blocks of 34 bytes: a float16, then 32 int8
    const view = new DataView(
      (await readBytes(file, offset + ((first * n) / 32) * 34, ((count * n) / 32) * 34)).buffer,
    );
    for (let i = 0; i < rows.length; i++) {
      const block = (i >>> 5) * 34;
      rows[i] = half(view.getUint16(block, true)) * view.getInt8(block + 2 + (i & 31));
    }
    return rows;
  }
  const width = type === "F32" ? 4 : 2;
  const strides = tensor.strides ?? (shape.length > 1 ? [n, 1] : [1]);
  const [down, right] = shape.length > 1 ? strides : [0, strides[0]];
  const from = offset + width * first * down;
  const view = new DataView((await readBytes(file, from, width * ((count - 1) * down + (n - 1) * right + 1))).buffer);
  for (let row = 0; row < count; row++) {
    for (let i = 0; i < n; i++) {
      const at = width * (row * down + i * right);
      rows[row * n + i] =
        type === "F32" ? view.getFloat32(at, true) : numberOf(type === "F16", view.getUint16(at, true));
    }
  }
  return rows;
}

const numberOf = (isHalf: boolean, bits: number): number => (isHalf ? half(bits) : bfloat(bits));

/** A float16 as a number, by its definition. */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -14 : (1 + fraction) * POWERS[exponent]);
}
const POWERS = Float64Array.from({ length: 31 }, (_, exponent) => 2 ** (exponent - 15));

/** A bfloat16 as a number: the upper half of a float32. */
function bfloat(bits: number): number {
  WORD.setUint16(0, bits);
  return WORD.getFloat32(0);
}
const WORD = new DataView(new ArrayBuffer(4));
