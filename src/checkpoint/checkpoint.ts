/*
 * A checkpoint, of llama2.c's version 0, 1 or 2, as a source of weights.
 *
 * The size that the header asks for is computed first, in exact arithmetic, and compared with the file's real one;
 * a file that lies about its shape is refused before anything is allocated.
 */

import { InputFile } from "../files/inputFile.ts";
import type { Config } from "../llama2/transformer.ts";
import { type Format, isVector, type Piece, type TensorName, type WeightSource } from "../llama2/weights.ts";
import { HEAD_BYTES, type Header, parseHeader } from "./header.ts";
import { checkFileSize, locateTensors, pieceBytes, pieceSize, type Tensor } from "./tensors.ts";

export class Checkpoint implements WeightSource {
  /** What the header says. */
  readonly header: Header;
  private readonly file: InputFile;
  private readonly tensors: Map<TensorName, Tensor>;
  private readonly buffers: ArrayBuffer[] = []; // for pieces; those that are not in use

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

  formatOf(name: TensorName): Format {
    return isVector(name) || this.header.groupSize === 0 ? "float32" : { groupSize: this.header.groupSize };
  }

  /** @throws Llama2Error E_FORMAT if the file was shortened meanwhile */
  async *pieces(name: TensorName, layer: number, multipleOf: number): AsyncGenerator<Piece, void> {
    const tensor = this.tensors.get(name);
    if (!tensor) throw new Error(`the checkpoint has no tensor ${name}`);
    const { size, groupSize } = tensor;
    const start = tensor.offset + layer * tensor.bytes;
    const step = pieceSize(tensor, multipleOf);
    const buffer = this.takeBuffer(pieceBytes(step, groupSize));
    try {
      for (let offset = 0; offset < size; offset += step) {
        const n = Math.min(step, size - offset);
        if (groupSize === 0) {
          const values = new Float32Array(buffer, 0, n);
          this.fileInto(values, start + 4 * offset);
          yield { offset, values };
        } else {
          const scales = new Float32Array(buffer, 0, n / groupSize);
          const q = new Int8Array(buffer, scales.byteLength, n);
          this.fileInto(q, start + offset);
          this.fileInto(scales, start + size + 4 * (offset / groupSize));
          yield { offset, q, scales };
        }
      }
    } finally {
      this.buffers.push(buffer);
    }
  }

  close(): void {
    this.file.close();
  }

  /** One that is large enough, and that no other `pieces` is at work with. Memory that was in use is faster than fresh. */
  private takeBuffer(bytes: number): ArrayBuffer {
    const buffer = this.buffers.pop();
    return buffer && buffer.byteLength >= bytes ? buffer : new ArrayBuffer(bytes);
  }

  private fileInto(values: Float32Array | Int8Array, position: number): void {
    this.file.read(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), position);
  }
}
