/*
 * A llama2.c checkpoint of version 0, 1 or 2, as a source of weights.
 *
 * The size that the header implies is computed first, in exact arithmetic, and compared with the file's size. So a file
 * with a wrong header is refused before anything is allocated.
 */

import type { ByteSource } from "../../files/bytes.ts";
import type { Config } from "../../llama2/transformer.ts";
import { type Format, isVector, type Piece, type TensorName, type WeightSource } from "../../llama2/weights.ts";
import { HEAD_BYTES } from "../otherFiles.ts";
import { type Header, parseHeader } from "./header.ts";
import { checkFileSize, locateTensors, pieceBytes, pieceSize, type Tensor } from "./tensors.ts";

export class Checkpoint implements WeightSource {
  /** The parsed header. */
  readonly header: Header;
  private readonly file: ByteSource;
  private readonly tensors: Map<TensorName, Tensor>;
  private readonly buffers: ArrayBuffer[] = []; // free buffers for pieces

  /**
   * Check the header and the size of `file`. It is closed with the checkpoint, or at once if it is refused.
   * @throws Llama2Error E_FORMAT if it is not a checkpoint
   */
  static async open(file: ByteSource): Promise<Checkpoint> {
    try {
      const head = new Uint8Array(Math.min(HEAD_BYTES, file.size));
      await file.read(head, 0);
      const header = parseHeader(head, file.name);
      const { tensors, fileBytes } = locateTensors(header, file.name);
      checkFileSize(header, fileBytes, file.size, file.name);
      return new Checkpoint(file, header, tensors);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  private constructor(file: ByteSource, header: Header, tensors: Tensor[]) {
    this.file = file;
    this.header = header;
    this.tensors = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  }

  /** The tensors in file order. */
  get located(): Tensor[] {
    return [...this.tensors.values()];
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

  /** @throws Llama2Error E_FORMAT if the file has been shortened */
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
          await this.fileInto(values, start + 4 * offset);
          yield { offset, values };
        } else {
          const scales = new Float32Array(buffer, 0, n / groupSize);
          const q = new Int8Array(buffer, scales.byteLength, n);
          await this.fileInto(q, start + offset);
          await this.fileInto(scales, start + size + 4 * (offset / groupSize));
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

  /** A free buffer that is large enough. Memory that was used before is faster than fresh memory. */
  private takeBuffer(bytes: number): ArrayBuffer {
    const buffer = this.buffers.pop();
    return buffer && buffer.byteLength >= bytes ? buffer : new ArrayBuffer(bytes);
  }

  private fileInto(values: Float32Array | Int8Array, position: number): Promise<void> {
    return this.file.read(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), position);
  }
}
