/*
 * Numbers as other programs store them, written from the formats' definitions and not from the code that reads them.
 */

/** The tensors that the writers of formats take. */
export interface TensorToWrite {
  name: string;
  type: "F32" | "F16" | "BF16" | "Q8_0";
  shape: readonly number[];
  values: Float32Array;
  /** What the values are in the type, where that is known already. */
  encoded?: Uint8Array;
}

/** The bytes of these numbers in a type. What the type cannot say exactly is rounded; see `rounded`. */
export function encodeNumbers(type: TensorToWrite["type"], values: Float32Array): Uint8Array {
  if (type === "F32") return new Uint8Array(values.slice().buffer);
  if (type === "Q8_0") return encodeBlocks(values);
  const halves = Uint16Array.from(values, type === "F16" ? float16 : bfloat16);
  return new Uint8Array(halves.buffer);
}

/** The nearest float16, as its bits; halves go to the even one. */
export function float16(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(size)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  const exponent = Math.max(-14, Math.floor(Math.log2(size || 2 ** -24)));
  const units = roundEven(size / 2 ** (exponent - 10)); // 1024 to 2048, or below 1024 where it is subnormal
  return sign | ((exponent + 14) * 1024 + units);
}

/** The nearest bfloat16, as its bits. */
export function bfloat16(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0];
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

const roundEven = (x: number) => {
  const floor = Math.floor(x);
  return x - floor === 0.5 ? floor + (floor % 2) : Math.round(x);
};

/** What a float16's bits stand for, by the definition. */
export function fromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The numbers that are read again after they were written in a type. */
export function rounded(type: TensorToWrite["type"], values: Float32Array): Float32Array {
  if (type === "F16") return values.map((value) => fromFloat16(float16(value)));
  if (type === "BF16") return new Float32Array(Uint32Array.from(values, (value) => bfloat16(value) << 16).buffer);
  if (type === "Q8_0") {
    const blocks = blocksOf(values);
    return values.map((_, i) => blocks[i >> 5].q[i & 31] * blocks[i >> 5].scale);
  }
  return values;
}

/** Blocks of 32 numbers with a float16 scale. */
export function blocksOf(values: Float32Array): { scale: number; q: Int8Array }[] {
  return Array.from({ length: values.length / 32 }, (_, block) => {
    const some = values.subarray(32 * block, 32 * block + 32);
    const scale = fromFloat16(float16(Math.max(...some.map(Math.abs)) / 127));
    return { scale, q: Int8Array.from(some, (value) => (scale === 0 ? 0 : Math.round(value / scale))) };
  });
}

function encodeBlocks(values: Float32Array): Uint8Array {
  const blocks = blocksOf(values);
  const bytes = new Uint8Array(34 * blocks.length);
  const view = new DataView(bytes.buffer);
  blocks.forEach(({ scale, q }, i) => {
    view.setUint16(34 * i, float16(scale), true);
    bytes.set(new Uint8Array(q.buffer), 34 * i + 2);
  });
  return bytes;
}
