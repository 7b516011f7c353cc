/*
 * A checkpoint, of llama2.c's version 0, 1 or 2, as a source of weights.
 *
 * The size that the header asks for is computed first, in exact arithmetic, and compared with the file's real one;
 * a file that lies about its shape is refused before anything is allocated.
 */

import { InputFile } from "../files/inputFile.ts";
import type { Config } from "../llama2/transformer.ts";
import type { MatrixName, TensorName, WeightSource } from "../llama2/weights.ts";
import { HEAD_BYTES, type Header, parseHeader } from "./header.ts";
import { checkFileSize, chunkOf, locateTensors, type Tensor } from "./tensors.ts";
import type { PieceSource } from "./write.ts";

export class Checkpoint implements WeightSource, PieceSource {
  /** What the header says. */
  readonly header: Header;
  private readonly file: InputFile;
  private readonly tensors: Map<TensorName, Tensor>;
  private readonly buffer: ArrayBuffer; // for a chunk of numbers, whatever their type

  /**
   * Open the checkpoint at `path` and check its header and size. `close` it when done.
   * @throws Llama2Error E_FILE if it cannot be opened, E_FORMAT if it is not a checkpoint
   */
  constructor(path: string) {
    this.file = new InputFile(path);
    try {
      const head = new Uint8Array(Math.min(HEAD_BYTES, this.file.size));
      this.file.read(head, 0);
      this.header = parseHeader(head, path);
      const { tensors, fileBytes } = locateTensors(this.header, path);
      checkFileSize(this.header, fileBytes, this.file.size, path);
      this.tensors = new Map(tensors.map((tensor) => [tensor.name, tensor]));
      this.buffer = new ArrayBuffer(Math.max(...tensors.map(bufferBytes)));
    } catch (error) {
      this.file.close();
      throw error;
    }
  }

  get config(): Config {
    return this.header.config;
  }

  get sharedClassifier(): boolean {
    return this.header.sharedClassifier;
  }

  get groupSize(): number {
    return this.header.groupSize;
  }

  /** @throws Llama2Error E_FORMAT if the file was shortened meanwhile */
  read(name: TensorName, layer: number, fill: (values: Float32Array, offset: number) => void): void {
    let done = 0;
    for (const values of this.pieces(name, layer, chunkOf(this.tensorOf(name, false)))) {
      fill(values, done);
      done += values.length;
    }
  }

  /** @throws Llama2Error E_FORMAT if the file was shortened meanwhile */
  *pieces(name: TensorName, layer: number, size: number): Generator<Float32Array, void> {
    const tensor = this.tensorOf(name, false);
    const start = tensor.offset + layer * tensor.bytes;
    for (let done = 0; done < tensor.size; done += size) {
      const values = new Float32Array(this.buffer, 0, Math.min(size, tensor.size - done));
      this.fileInto(values, start + 4 * done);
      yield values;
    }
  }

  /** @throws Llama2Error E_FORMAT if the file was shortened meanwhile */
  readQuantized(
    name: MatrixName,
    layer: number,
    fill: (q: Int8Array, scales: Float32Array, offset: number) => void,
  ): void {
    const tensor = this.tensorOf(name, true);
    const { size, groupSize } = tensor;
    const start = tensor.offset + layer * tensor.bytes;
    const step = chunkOf(tensor);
    for (let done = 0; done < size; done += step) {
      const n = Math.min(step, size - done);
      const scales = new Float32Array(this.buffer, 0, n / groupSize);
      const q = new Int8Array(this.buffer, scales.byteLength, n);
      this.fileInto(q, start + done);
      this.fileInto(scales, start + size + 4 * (done / groupSize));
      fill(q, scales, done);
    }
  }

  close(): void {
    this.file.close();
  }

  private tensorOf(name: TensorName, quantized: boolean): Tensor {
    const tensor = this.tensors.get(name);
    if (tensor && tensor.groupSize > 0 === quantized) return tensor;
    throw new Error(`the checkpoint has no ${quantized ? "int8" : "float32"} tensor ${name}`);
  }

  private fileInto(values: Float32Array | Int8Array, position: number): void {
    this.file.read(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), position);
  }
}

/** The bytes of a chunk. */
function bufferBytes(tensor: Tensor): number {
  const numbers = chunkOf(tensor);
  return tensor.groupSize === 0 ? 4 * numbers : numbers + 4 * (numbers / tensor.groupSize);
}
