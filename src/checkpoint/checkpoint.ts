/*
 * A version-0 checkpoint, the format of stories15M.bin and its family, as a source of weights.
 *
 * After the header the file is float32 numbers and nothing else, one tensor after the other, so its size follows
 * from the header. That size is computed first, in exact arithmetic, and compared with the real one; a file that
 * lies about its shape is refused before anything is allocated.
 */
import { Llama2Error } from "../errors.js";
import { type Config, headSizeOf, kvDimOf, type TensorName, type WeightSource } from "../llama2/transformer.js";
import { bytesText, InputFile } from "./file.js";
import { HEAD_BYTES, HEADER_BYTES, type Header, parseHeader } from "./header.js";

/** One kind of tensor in the file: `layers` of them, each of `size` float32 numbers, from byte `offset` on. */
interface Tensor {
  layers: number;
  size: number;
  offset: number;
}

/** 4 MiB: reading through one buffer again and again is ten times faster than into fresh memory. */
const CHUNK_FLOATS = 1 << 20;

export class Checkpoint implements WeightSource {
  readonly config: Config;
  readonly sharedClassifier: boolean;
  readonly groupSize = 0;
  private readonly file: InputFile;
  private readonly tensors: Map<TensorName, Tensor>;
  private readonly chunk: Float32Array;

  /**
   * Open the checkpoint at `path` and check its header and size. `close` it when done.
   * @throws Llama2Error E_FILE if it cannot be opened, E_FORMAT if it is not a version-0 checkpoint
   */
  constructor(path: string) {
    this.file = new InputFile(path);
    try {
      const head = new Uint8Array(Math.min(HEAD_BYTES, this.file.size));
      this.file.read(head, 0);
      const header = parseHeader(head, path);
      this.config = header.config;
      this.sharedClassifier = header.sharedClassifier;
      this.tensors = locateTensors(header, this.file);
      const largest = Math.max(...[...this.tensors.values()].map(({ size }) => size));
      this.chunk = new Float32Array(Math.min(largest, CHUNK_FLOATS));
    } catch (error) {
      this.file.close();
      throw error;
    }
  }

  /** @throws Llama2Error E_FORMAT if the file was shortened meanwhile */
  read(name: TensorName, layer: number, fill: (values: Float32Array, offset: number) => void): void {
    const tensor = this.tensors.get(name);
    if (!tensor) throw new Error(`the checkpoint has no tensor ${name}`);
    for (let done = 0; done < tensor.size; done += this.chunk.length) {
      const values = this.chunk.subarray(0, tensor.size - done);
      const bytes = new Uint8Array(values.buffer, 0, values.byteLength);
      this.file.read(bytes, tensor.offset + 4 * (layer * tensor.size + done));
      fill(values, done);
    }
  }

  close(): void {
    this.file.close();
  }
}

/** Where each tensor lies. formats.md, v0; the RoPE tables, which nobody reads, are `undefined`. */
function locateTensors({ config: p, sharedClassifier }: Header, file: InputFile): Map<TensorName, Tensor> {
  const kvDim = kvDimOf(p);
  const order: [name: TensorName | undefined, layers: number, rows: number, columns: number][] = [
    ["tokenEmbeddingTable", 1, p.vocabSize, p.dim],
    ["rmsAttWeight", p.nLayers, 1, p.dim],
    ["wq", p.nLayers, p.dim, p.dim],
    ["wk", p.nLayers, kvDim, p.dim],
    ["wv", p.nLayers, kvDim, p.dim],
    ["wo", p.nLayers, p.dim, p.dim],
    ["rmsFfnWeight", p.nLayers, 1, p.dim],
    ["w1", p.nLayers, p.hiddenDim, p.dim],
    ["w2", p.nLayers, p.dim, p.hiddenDim],
    ["w3", p.nLayers, p.hiddenDim, p.dim],
    ["rmsFinalWeight", 1, 1, p.dim],
    [undefined, 2, p.seqLen, headSizeOf(p) / 2],
  ];
  if (!sharedClassifier) order.push(["wcls", 1, p.vocabSize, p.dim]);

  const tensors = new Map<TensorName, Tensor>();
  let end = BigInt(HEADER_BYTES);
  for (const [name, layers, rows, columns] of order) {
    if (name) tensors.set(name, { layers, size: rows * columns, offset: Number(end) });
    end += 4n * BigInt(layers) * BigInt(rows) * BigInt(columns);
  }
  if (end !== BigInt(file.size)) {
    const shape = `dim ${p.dim}, hidden_dim ${p.hiddenDim}, n_layers ${p.nLayers}, n_heads ${p.nHeads}, n_kv_heads ${p.nKvHeads}, vocab_size ${p.vocabSize}, seq_len ${p.seqLen}`;
    const why =
      end > BigInt(file.size)
        ? "It was cut short, or is not a llama2.c checkpoint"
        : "It has something else at its end, or is not a llama2.c checkpoint";
    throw new Llama2Error(
      "E_FORMAT",
      `${file.path} has ${bytesText(file.size)}, but its header (${shape}) asks for ${bytesText(end)}. ${why}`,
    );
  }
  return tensors;
}
