/*
 * safetensors files, made by the tests.
 */
import { encodeNumbers, type TensorToWrite } from "./numbers.ts";

/** The bytes of a safetensors file with these tensors, in this order. */
export function safetensorsBytes(tensors: readonly TensorToWrite[], metadata?: object): Uint8Array {
  let at = 0;
  const entries: Record<string, unknown> = metadata ? { __metadata__: metadata } : {};
  const data = tensors.map(({ name, type, shape, values }) => {
    const bytes = encodeNumbers(type, values);
    entries[name] = { dtype: type, shape, data_offsets: [at, at + bytes.length] };
    at += bytes.length;
    return bytes;
  });
  return safetensorsOf(JSON.stringify(entries), Buffer.concat(data));
}

/** A file with any header and any bytes after it. */
export function safetensorsOf(header: string | Uint8Array, data: Uint8Array, length?: number | bigint): Uint8Array {
  const text = typeof header === "string" ? Buffer.from(header) : header;
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(BigInt(length ?? text.length));
  return new Uint8Array(Buffer.concat([head, text, data]));
}
