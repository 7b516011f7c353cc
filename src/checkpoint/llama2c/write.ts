/*
 * Writing checkpoints, piece by piece: a model may be larger than the memory.
 */
import { setImmediate } from "node:timers/promises";
import { Llama2Error } from "../../errors.ts";
import { OutputFile } from "../../files/outputFile.ts";
import { f32, rintf } from "../../llama2/math.ts";
import { mallocQuantized, type QuantizedTensor } from "../../llama2/quantize.ts";
import type { WeightSource } from "../../llama2/weights.ts";
import { formatHeader, HEADER_BYTES, type Header } from "./header.ts";
import { locateTensors, type Tensor } from "./tensors.ts";

export interface WriteOptions {
  /** Called as the file grows: its bytes so far, and how many it will have. */
  onProgress?: (written: number, total: number) => void;
  /** Stops writing. Nothing is left behind then. */
  signal?: AbortSignal;
}

/**
 * Write a checkpoint of version 1 or 2, whose float32 numbers come from `source`. It is there when all of it is, and
 * not before.
 * @throws Llama2Error E_FILE if it cannot be written, E_FORMAT if the header's group size does not divide a tensor,
 *   E_NUMERIC for weights that have no int8; what the source throws; the signal's reason
 */
export async function writeCheckpoint(
  path: string,
  header: Header,
  source: Pick<WeightSource, "pieces">,
  { onProgress, signal }: WriteOptions = {},
): Promise<void> {
  const { tensors, fileBytes } = locateTensors(header, path);
  const file = new OutputFile(path);
  try {
    file.write(formatHeader(header), 0);
    let written: number = HEADER_BYTES[header.version];
    for (const tensor of tensors) {
      for (let layer = 0; layer < tensor.layers; layer++) {
        for await (const piece of source.pieces(tensor.name, layer, Math.max(1, tensor.groupSize))) {
          if (!("values" in piece)) throw new TypeError(`${tensor.name} is int8, expected float32`);
          written += writePiece(file, tensor, layer, piece.values, piece.offset);
          onProgress?.(written, Number(fileBytes));
          await setImmediate(); // the caller's event loop gets its turn
          signal?.throwIfAborted();
        }
      }
    }
    file.finish();
  } catch (error) {
    file.discard();
    throw error;
  }
}

/** Write the next numbers of a tensor of one layer, of which `done` came before. Returns how many bytes they took. */
function writePiece(file: OutputFile, tensor: Tensor, layer: number, values: Float32Array, done: number): number {
  const { name, size, groupSize } = tensor;
  const start = tensor.offset + layer * tensor.bytes;
  if (groupSize === 0) {
    file.write(bytesOf(values), start + 4 * done);
    return values.byteLength;
  }
  const { q, s } = quantizeWeights(values, groupSize);
  if (!s.every(Number.isFinite)) {
    throw new Llama2Error("E_NUMERIC", `${name} of layer ${layer} has weights that are NaN or infinite`);
  }
  file.write(bytesOf(q), start + done);
  file.write(bytesOf(s), start + size + 4 * (done / groupSize));
  return q.byteLength + s.byteLength;
}

/**
 * Round weights to int8 as llama2.c's export.py does (quantize_q80): symmetric, the largest of each group becomes
 * 127, and halves go to the even number. (Activations round halves away from zero: `quantize` of quantize.ts.)
 */
export function quantizeWeights(w: Float32Array, groupSize: number): QuantizedTensor {
  const quantized = mallocQuantized(w.length, groupSize);
  const { q, s } = quantized;
  for (let group = 0; group < s.length; group++) {
    const start = group * groupSize;
    const end = start + groupSize;
    let wmax = 0;
    for (let i = start; i < end; i++) {
      wmax = Math.max(wmax, Math.abs(w[i]));
    }
    const scale = f32(wmax / 127);
    s[group] = scale;
    for (let i = start; i < end; i++) {
      q[i] = rintf(f32(w[i] / scale)); // a group of zeros: 0 / 0 is stored as 0
    }
  }
  return quantized;
}

const bytesOf = (values: Float32Array | Int8Array) =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
