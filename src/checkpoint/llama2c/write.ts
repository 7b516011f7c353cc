/*
 * Writes checkpoints piece by piece: a model may be larger than the memory.
 */
import { setImmediate } from "node:timers/promises";
import { Llama2Error } from "../../errors.ts";
import { OutputFile } from "../../files/outputFile.ts";
import { dequantize } from "../../llama2/quantize.ts";
import { type Config, headSizeOf, ropeAngles, ropeFrequencies } from "../../llama2/transformer.ts";
import { groupSizeOf, type Piece, type WeightSource } from "../../llama2/weights.ts";
import { quantizeWeights } from "../int8.ts";
import { formatHeader, HEADER_BYTES, type Header } from "./header.ts";
import { locateTensors, type Tensor } from "./tensors.ts";

export interface WriteOptions {
  /** Called as the file grows: how many bytes it has, and how many it will have. */
  onProgress?: (written: number, total: number) => void;
  /** Stops writing, and leaves nothing behind. */
  signal?: AbortSignal;
}

/**
 * Write a checkpoint of any version, as a whole or not at all. Matrices that are int8 in `source` keep their groups in
 * version 2; in the other versions they become float32.
 * @throws Llama2Error E_FILE if it cannot be written, E_FORMAT if the header's group size does not divide a tensor,
 *   E_NUMERIC for weights that are NaN or infinite; what the source throws; the signal's reason
 */
export async function writeCheckpoint(
  path: string,
  header: Header,
  source: Pick<WeightSource, "pieces" | "formatOf">,
  { onProgress, signal }: WriteOptions = {},
): Promise<void> {
  const { tensors, fileBytes } = locateTensors(header, path);
  const file = new OutputFile(path);
  try {
    file.write(formatHeader(header), 0);
    let written: number = HEADER_BYTES[header.version];
    for (const tensor of tensors) {
      const groupSize = tensor.groupSize || groupSizeOf(source.formatOf(tensor.name));
      for (let layer = 0; layer < tensor.layers; layer++) {
        for await (const piece of source.pieces(tensor.name, layer, Math.max(1, groupSize))) {
          written += writePiece(file, tensor, layer, piece, groupSize);
          onProgress?.(written, Number(fileBytes));
          await setImmediate(); // let the caller's event loop run
          signal?.throwIfAborted();
        }
      }
      if (header.version === 0 && tensor.name === "rmsFinalWeight") {
        writeRopeTables(file, tensor.offset + tensor.bytes, header.config);
      }
    }
    file.finish();
  } catch (error) {
    file.discard();
    throw error;
  }
}

/** Write the next numbers of a tensor of one layer. Returns how many bytes they took. */
function writePiece(file: OutputFile, tensor: Tensor, layer: number, piece: Piece, sourceGroup: number): number {
  const { name, size, groupSize } = tensor;
  const { offset } = piece;
  const start = tensor.offset + layer * tensor.bytes;
  if (groupSize === 0) {
    const values = "values" in piece ? piece.values : new Float32Array(piece.q.length);
    if ("q" in piece) dequantize({ q: piece.q, s: piece.scales, groupSize: sourceGroup }, values, 0);
    file.write(bytesOf(values), start + 4 * offset);
    return values.byteLength;
  }
  const { q, s } = "q" in piece ? { q: piece.q, s: piece.scales } : quantizeWeights(piece.values, groupSize);
  if (!s.every(Number.isFinite)) {
    throw new Llama2Error("E_NUMERIC", `${name} of layer ${layer} has weights that are NaN or infinite`);
  }
  file.write(bytesOf(q), start + offset);
  file.write(bytesOf(s), start + size + 4 * (offset / groupSize));
  return q.byteLength + s.byteLength;
}

/** Version 0's RoPE tables, which are not used: the cosines of all positions, then the sines. */
function writeRopeTables(file: OutputFile, start: number, config: Config): void {
  const n = headSizeOf(config) / 2;
  const [cosines, sines] = [new Float32Array(n), new Float32Array(n)];
  const frequencies = ropeFrequencies(config);
  for (let pos = 0; pos < config.seqLen; pos++) {
    ropeAngles(cosines, sines, pos, frequencies);
    file.write(bytesOf(cosines), start + 4 * n * pos);
    file.write(bytesOf(sines), start + 4 * n * (config.seqLen + pos));
  }
}

const bytesOf = (values: Float32Array | Int8Array) =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
