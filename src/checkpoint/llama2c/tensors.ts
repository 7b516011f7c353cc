/*
 * The place of each tensor in a checkpoint. After the header there are only tensors, each for all layers before the next,
 * so the file's size follows from its header.
 */
import { Llama2Error } from "../../errors.ts";
import { bytesText } from "../../files/bytes.ts";
import { headSizeOf } from "../../llama2/transformer.ts";
import { isVector, shapesOf, type TensorName } from "../../llama2/weights.ts";
import { leastCommonMultiple } from "../int8.ts";
import { HEADER_BYTES, type Header } from "./header.ts";

/** One kind of tensor in a file: `layers` of them, each of `size` numbers in `bytes` bytes, the first at `offset`. */
export interface Tensor {
  name: TensorName;
  layers: number;
  size: number;
  groupSize: number; // 0: float32. Otherwise `size` int8 numbers, then a float32 scale for each group
  bytes: number;
  offset: number;
}

/** Version 0's RoPE tables, cosines and sines of every position. They are not used. */
const ROPE_TABLES = "ropeTables";

/** The order of the tensors, by version. The classifier is in the file only if it is not shared. */
const ORDER = [
  "tokenEmbeddingTable rmsAttWeight wq wk wv wo rmsFfnWeight w1 w2 w3 rmsFinalWeight ropeTables wcls",
  "rmsAttWeight rmsFfnWeight rmsFinalWeight tokenEmbeddingTable wq wk wv wo w1 w2 w3 wcls",
  "rmsAttWeight rmsFfnWeight rmsFinalWeight tokenEmbeddingTable wq wk wv wo w1 w2 w3 wcls",
].map((names) => names.split(" ") as (TensorName | typeof ROPE_TABLES)[]);

/**
 * The tensors of a checkpoint with this header, in file order, and the size of the file in bytes, which is exact for any
 * header. The tensors' offsets and sizes are exact if the file's size is a safe integer.
 * @throws Llama2Error E_FORMAT if a group size does not divide a tensor
 */
export function locateTensors(header: Header, path: string): { tensors: Tensor[]; fileBytes: bigint } {
  const { config, version, sharedClassifier } = header;
  const shapes = { ...shapesOf(config), ropeTables: { layers: 2, d: config.seqLen, n: headSizeOf(config) / 2 } };
  const tensors: Tensor[] = [];
  let offset = BigInt(HEADER_BYTES[version]);
  for (const name of ORDER[version]) {
    if (name === "wcls" && sharedClassifier) continue;
    const { layers, d, n } = shapes[name];
    const groupSize = isVector(name) ? 0 : header.groupSize;
    const size = BigInt(d) * BigInt(n);
    const bytes = groupSize === 0 ? 4n * size : size + 4n * groupsOf(size, groupSize, name, path);
    if (name !== ROPE_TABLES) {
      tensors.push({ name, layers, size: Number(size), groupSize, bytes: Number(bytes), offset: Number(offset) });
    }
    offset += BigInt(layers) * bytes;
  }
  return { tensors, fileBytes: offset };
}

/**
 * About how many numbers are read or written at once: 512 KiB of float32, or 128 KiB of int8, which stay in a core's cache
 * until they have been copied. Reading into one buffer again and again is ten times faster than into fresh memory.
 */
const PIECE = 1 << 17;

/** How many numbers of a tensor are read or written at once: whole groups, and a multiple of `multipleOf`. */
export function pieceSize({ size, groupSize }: Pick<Tensor, "size" | "groupSize">, multipleOf: number): number {
  const unit = groupSize === 0 ? multipleOf : leastCommonMultiple(groupSize, multipleOf);
  return Math.min(size, Math.max(1, Math.floor(PIECE / unit)) * unit);
}

/** The bytes of a piece of `count` numbers, and of the scales of its groups. */
export const pieceBytes = (count: number, groupSize: number): number =>
  groupSize === 0 ? 4 * count : count + 4 * Math.ceil(count / groupSize);

/** How many groups a tensor of `size` numbers has. */
function groupsOf(size: bigint, groupSize: number, name: string, path: string): bigint {
  if (size % BigInt(groupSize) === 0n) return size / BigInt(groupSize);
  throw new Llama2Error(
    "E_FORMAT",
    `${path} has groups of ${groupSize}, which do not divide the ${size.toLocaleString("en-US")} numbers of ${name}`,
  );
}

/** @throws Llama2Error E_FORMAT if the file's size does not match its header */
export function checkFileSize({ config: p }: Header, expected: bigint, actual: number, path: string): void {
  if (BigInt(actual) === expected) return;
  const shape = `dim ${p.dim}, hidden_dim ${p.hiddenDim}, n_layers ${p.nLayers}, n_heads ${p.nHeads}, n_kv_heads ${p.nKvHeads}, vocab_size ${p.vocabSize}, seq_len ${p.seqLen}`;
  const why =
    actual < expected
      ? "It was cut short, or is not a llama2.c checkpoint"
      : "It has something else at its end, or is not a llama2.c checkpoint";
  throw new Llama2Error(
    "E_FORMAT",
    `${path} has ${bytesText(actual)}, but its header (${shape}) asks for ${bytesText(expected)}. ${why}`,
  );
}
