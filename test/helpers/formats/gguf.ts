/*
 * GGUF files, made by the tests.
 */
import { encodeNumbers, type TensorToWrite } from "./numbers.ts";

/** A value with its type's number. */
export type GgufEntry = readonly [key: string, type: number, value: number | bigint | string | boolean | GgufList];
export interface GgufList {
  type: number;
  items: readonly (number | string)[];
}

const TYPES = { F32: 0, F16: 1, Q8_0: 8, BF16: 30 };

export class Bytes {
  private readonly parts: Uint8Array[] = [];
  length = 0;
  add(bytes: Uint8Array): this {
    this.parts.push(bytes);
    this.length += bytes.length;
    return this;
  }
  uint8(n: number): this {
    return this.add(Uint8Array.of(n));
  }
  uint32(n: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(n >>> 0);
    return this.add(bytes);
  }
  uint64(n: number | bigint): this {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(n));
    return this.add(bytes);
  }
  float32(n: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeFloatLE(n);
    return this.add(bytes);
  }
  text(s: string): this {
    const bytes = Buffer.from(s);
    return this.uint64(bytes.length).add(bytes);
  }
  value(type: number, value: GgufEntry[2]): this {
    if (typeof value === "object") {
      this.uint32(value.type).uint64(value.items.length);
      for (const item of value.items) this.value(value.type, item);
      return this;
    }
    if (typeof value === "string") return this.text(value);
    if (type === 6) return this.float32(Number(value));
    if (type === 0 || type === 7) return this.uint8(Number(value));
    return type === 10 ? this.uint64(BigInt(value)) : this.uint32(Number(value));
  }
  bytes(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.parts));
  }
}

export interface GgufOptions {
  version?: number;
  alignment?: number;
}

/** The bytes of a GGUF file. */
export function ggufBytes(
  entries: readonly GgufEntry[],
  tensors: readonly TensorToWrite[],
  { version = 3, alignment = 32 }: GgufOptions = {},
): Uint8Array {
  const head = new Bytes().add(Buffer.from("GGUF")).uint32(version).uint64(tensors.length).uint64(entries.length);
  for (const [key, type, value] of entries) head.text(key).uint32(type).value(type, value);
  const data = new Bytes();
  const pad = (to: Bytes) => to.add(new Uint8Array((alignment - (to.length % alignment)) % alignment));
  for (const { name, type, shape, values, encoded } of tensors) {
    head.text(name).uint32(shape.length);
    for (const size of [...shape].reverse()) head.uint64(size);
    head.uint32(TYPES[type]).uint64(data.length);
    pad(data.add(encoded ?? encodeNumbers(type, values)));
  }
  return new Uint8Array(Buffer.concat([pad(head).bytes(), data.bytes()]));
}

/** The keys of a llama model of this shape: dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen. */
export function ggufKeys(shape: readonly number[], changes: readonly GgufEntry[] = []): GgufEntry[] {
  const [dim, hidden, layers, heads, kvHeads, , seqLen] = shape;
  const entries: GgufEntry[] = [
    ["general.architecture", 8, "llama"],
    ["general.name", 8, "seeded"],
    ["llama.embedding_length", 4, dim],
    ["llama.feed_forward_length", 4, hidden],
    ["llama.block_count", 4, layers],
    ["llama.attention.head_count", 4, heads],
    ["llama.attention.head_count_kv", 4, kvHeads],
    ["llama.attention.layer_norm_rms_epsilon", 6, 1e-5],
    ["llama.context_length", 4, seqLen],
    ["llama.rope.freq_base", 6, 10000],
    ["llama.rope.dimension_count", 4, dim / heads],
  ];
  const changed = new Set(changes.map(([key]) => key));
  return [...entries.filter(([key]) => !changed.has(key)), ...changes];
}
