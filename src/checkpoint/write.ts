/*
 * Writing checkpoints, piece by piece: a model may be larger than the memory.
 */
import { setImmediate } from "node:timers/promises";
import { Llama2Error } from "../errors.js";
import { f32, rintf } from "../llama2/math.js";
import { mallocQuantized, type QuantizedTensor } from "../llama2/quantize.js";
import type { WeightSource } from "../llama2/weights.js";
import { formatHeader, type Header } from "./header.js";
import { OutputFile } from "./outputFile.js";
import { chunkOf, locateTensors, type Tensor } from "./tensors.js";

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
  source: WeightSource,
  { onProgress, signal }: WriteOptions = {},
): Promise<void> {
  const { tensors, fileBytes } = locateTensors(header, path);
  const file = new OutputFile(path);
  try {
    file.write(formatHeader(header), 0);
    for (const tensor of tensors) {
      for (let layer = 0; layer < tensor.layers; layer++) {
        writeTensor(file, tensor, layer, source);
        onProgress?.(tensor.offset + (layer + 1) * tensor.bytes, Number(fileBytes));
        await setImmediate(); // the caller's event loop gets its turn
        signal?.throwIfAborted();
      }
    }
    file.finish();
  } catch (error) {
    file.discard();
    throw error;
  }
}

/** Write one tensor of one layer. */
function writeTensor(file: OutputFile, tensor: Tensor, layer: number, source: WeightSource): void {
  const { name, size, groupSize } = tensor;
  const start = tensor.offset + layer * tensor.bytes;
  if (groupSize === 0) {
    source.read(name, layer, (values, offset) => file.write(bytesOf(values), start + 4 * offset));
    return;
  }
  readChunks(source, tensor, layer, (values, offset) => {
    const { q, s } = quantizeWeights(values, groupSize);
    if (!s.every(Number.isFinite)) {
      throw new Llama2Error("E_NUMERIC", `${name} of layer ${layer} has weights that are NaN or infinite`);
    }
    file.write(bytesOf(q), start + offset);
    file.write(bytesOf(s), start + size + 4 * (offset / groupSize));
  });
}

/** Read one tensor of one layer in chunks of whole groups, whatever the pieces in which it comes. */
function readChunks(
  source: WeightSource,
  tensor: Tensor,
  layer: number,
  take: (values: Float32Array, offset: number) => void,
): void {
  const chunk = new Float32Array(chunkOf(tensor));
  let gathered = 0;
  let taken = 0;
  source.read(tensor.name, layer, (values) => {
    for (let at = 0; at < values.length; ) {
      const some = values.subarray(at, at + chunk.length - gathered);
      chunk.set(some, gathered);
      gathered += some.length;
      at += some.length;
      if (gathered === chunk.length || taken + gathered === tensor.size) {
        take(chunk.subarray(0, gathered), taken);
        taken += gathered;
        gathered = 0;
      }
    }
  });
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
