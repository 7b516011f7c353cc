/*
 * A source of weights from the tensors of other programs' files.
 */
import { Llama2Error } from "../errors.ts";
import type { ByteSource } from "../files/bytes.ts";
import type { Config } from "../llama2/transformer.ts";
import { type Format, isVector, type Piece, type TensorName, tensorsOf, type WeightSource } from "../llama2/weights.ts";
import { checkConfig, type Shape } from "./config.ts";
import { quoted } from "./json.ts";
import { pieceSize } from "./llama2c/tensors.ts";
import { type Convention, nameOf } from "./names.ts";
import {
  interleaved,
  isNumberType,
  NUMBER_BYTES,
  Q8_BLOCK,
  Q8_BLOCK_BYTES,
  type Rows,
  readBlocks,
  rowsOf,
  type StoredTensor,
  sideBySide,
  stacked,
} from "./stored.ts";

/** The tensors of a file, or of one shard of a model, by their names. */
export type Tensors = ReadonlyMap<string, StoredTensor>;

/** A shard has some columns of these matrices, and some rows of the others. */
const SPLIT_BY_COLUMNS: ReadonlySet<TensorName> = new Set(["tokenEmbeddingTable", "wo", "w2"]);

/**
 * The weights of a Llama model.
 * @param shards one, or several as Meta's large models have, each with a part of every matrix
 * @param name of the model, for messages
 * @throws Llama2Error E_FORMAT if tensors are missing, too many, of the wrong shape or of a type that cannot be read
 */
export function storedWeights(
  shape: Shape,
  shards: readonly Tensors[],
  convention: Convention,
  name: string,
): WeightSource {
  const config = configOf(shape, shards, convention, name);
  const sharedClassifier = isShared(shape, shards, convention, name);
  const tensors = new Map<TensorName, Parts[]>();
  const known = new Set<string>();
  const used: StoredTensor[] = [];
  for (const { name: tensor, layers, d, n } of tensorsOf({ config, sharedClassifier })) {
    const all: Parts[] = [];
    for (let layer = 0; layer < layers; layer++) {
      const stored = nameOf(convention, tensor, layer);
      known.add(stored);
      const parts = shards.map((shard) => find(shard, stored, name));
      all.push(partsOf(tensor, parts, { d, n }, config, convention));
      if (tensor !== "wcls") used.push(...parts); // which may be the embedding table
    }
    tensors.set(tensor, all);
  }
  if (sharedClassifier) known.add(nameOf(convention, "wcls", 0));
  refuseOthers(shards, known, convention, name);
  refuseOverlaps(used);
  return new StoredWeights(config, sharedClassifier, tensors);
}

/** A tensor of one layer: its rows, and the stored tensor itself if it consists of int8 blocks. */
interface Parts {
  rows: Rows;
  blocks?: StoredTensor;
}

class StoredWeights implements WeightSource {
  readonly config: Config;
  readonly sharedClassifier: boolean;
  private readonly tensors: ReadonlyMap<TensorName, readonly Parts[]>;

  constructor(config: Config, sharedClassifier: boolean, tensors: ReadonlyMap<TensorName, readonly Parts[]>) {
    this.config = config;
    this.sharedClassifier = sharedClassifier;
    this.tensors = tensors;
  }

  /** int8 if all layers are. */
  formatOf(name: TensorName): Format {
    const all = this.tensors.get(name) ?? [];
    return !isVector(name) && all.length > 0 && all.every(({ blocks }) => blocks) ? { groupSize: Q8_BLOCK } : "float32";
  }

  async *pieces(name: TensorName, layer: number, multipleOf: number): AsyncGenerator<Piece, void> {
    const parts = this.tensors.get(name)?.[layer];
    if (!parts) throw new Error(`there is no tensor ${name} of layer ${layer}`);
    const { rows, blocks } = parts;
    const size = rows.d * rows.n;
    if (blocks && this.formatOf(name) !== "float32") {
      yield* blockPieces(blocks, size, multipleOf);
      return;
    }
    // whole rows
    const step = pieceSize({ size, groupSize: rows.n }, multipleOf);
    const values = new Float32Array(step);
    for (let offset = 0; offset < size; offset += step) {
      const piece = values.subarray(0, Math.min(step, size - offset));
      await rows.read(offset / rows.n, piece.length / rows.n, piece);
      yield { offset, values: piece };
    }
  }
}

/** The pieces of an int8 tensor, in groups of a block each. */
async function* blockPieces(tensor: StoredTensor, size: number, multipleOf: number): AsyncGenerator<Piece, void> {
  const step = pieceSize({ size, groupSize: Q8_BLOCK }, multipleOf);
  const q = new Int8Array(step);
  const scales = new Float32Array(step / Q8_BLOCK);
  for (let offset = 0; offset < size; offset += step) {
    const n = Math.min(step, size - offset);
    const piece = { offset, q: q.subarray(0, n), scales: scales.subarray(0, n / Q8_BLOCK) };
    await readBlocks(tensor.file, tensor.offset + (offset / Q8_BLOCK) * Q8_BLOCK_BYTES, piece.q, piece.scales);
    yield piece;
  }
}

// ----------------------------------------------------------------------------
// what belongs to what

/** The config, completed from the tensors' shapes. */
function configOf(shape: Shape, shards: readonly Tensors[], convention: Convention, name: string): Config {
  const rowsIn = (tensor: TensorName) => find(shards[0], nameOf(convention, tensor, 0), name).shape[0] ?? 0;
  const { tied: _, ...rest } = shape;
  const config = {
    ...rest,
    vocabSize: shape.vocabSize ?? rowsIn("tokenEmbeddingTable"),
    hiddenDim: shape.hiddenDim ?? rowsIn("w1") * shards.length,
  };
  checkConfig(config, name);
  return config;
}

/** Whether the classifier is the embedding table: the files say so, or both are the same bytes. */
function isShared(shape: Shape, shards: readonly Tensors[], convention: Convention, name: string): boolean {
  const classifier = shards[0].get(nameOf(convention, "wcls", 0));
  if (shape.tied !== undefined) {
    if (!classifier && !shape.tied) find(shards[0], nameOf(convention, "wcls", 0), name);
    return shape.tied;
  }
  const table = find(shards[0], nameOf(convention, "tokenEmbeddingTable", 0), name);
  return !classifier || sameBytes(classifier, table);
}

const sameBytes = (a: StoredTensor, b: StoredTensor) =>
  a.file === b.file &&
  a.offset === b.offset &&
  a.type === b.type &&
  String(a.shape) === String(b.shape) &&
  String(a.strides) === String(b.strides);

/** A layer's tensor, joined from the shards' parts, which together must have the right shape. */
function partsOf(
  tensor: TensorName,
  stored: readonly StoredTensor[],
  { d, n }: { d: number; n: number },
  config: Config,
  { halfSplit }: Convention,
): Parts {
  const [first] = stored;
  const dimensions = isVector(tensor) ? 1 : 2;
  for (const { name, file, shape } of stored) {
    if (shape.length === dimensions) continue;
    throw new Llama2Error(
      "E_FORMAT",
      `${name} in ${file.name} has the shape [${shape.join(", ")}], expected ${dimensions} dimensions`,
    );
  }
  // every shard has the whole norms
  const all = (isVector(tensor) ? [first] : stored).map(rowsOf);
  const byColumns = SPLIT_BY_COLUMNS.has(tensor);
  const total = {
    d: byColumns ? all[0].d : all.reduce((sum, part) => sum + part.d, 0),
    n: byColumns ? all.reduce((sum, part) => sum + part.n, 0) : all[0].n,
  };
  const equal = all.every((part) => (byColumns ? part.d === all[0].d : part.n === all[0].n));
  if (!equal || total.d !== d || total.n !== n) {
    const found = stored.map(({ shape }) => `[${shape.join(", ")}]`).join(", ");
    const expected = dimensions === 1 ? `[${n}]` : `[${d}, ${n}]`;
    throw new Llama2Error(
      "E_FORMAT",
      `${first.name} in ${first.file.name} has the shape ${found}, expected ${expected}`,
    );
  }
  const rows = byColumns ? sideBySide(all) : stacked(all);
  if (halfSplit && tensor === "wq") return { rows: interleaved(rows, config.nHeads) };
  if (halfSplit && tensor === "wk") return { rows: interleaved(rows, config.nKvHeads) };
  return { rows, blocks: stored.length === 1 && first.type === "Q8_0" ? first : undefined };
}

function find(tensors: Tensors, stored: string, name: string): StoredTensor {
  const tensor = tensors.get(stored);
  if (tensor) return tensor;
  throw new Llama2Error("E_FORMAT", `${name} is not a complete Llama model: it has no ${stored}`);
}

/** A tensor that no Llama 2 model has belongs to another kind of model. */
function refuseOthers(
  shards: readonly Tensors[],
  known: ReadonlySet<string>,
  { ignored }: Convention,
  name: string,
): void {
  for (const shard of shards) {
    for (const stored of shard.keys()) {
      if (known.has(stored) || ignored.test(stored)) continue;
      throw new Llama2Error(
        "E_FORMAT",
        `${name} has a tensor ${quoted(stored)}, which models of this shape do not have`,
      );
    }
  }
}

/** Tensors must not overlap: that would be a malicious file, or another kind of model. */
function refuseOverlaps(tensors: readonly StoredTensor[]): void {
  const ends = new Map<ByteSource, StoredTensor>(); // for each file, the tensor with the furthest end so far
  for (const tensor of tensors.toSorted((a, b) => a.offset - b.offset)) {
    const before = ends.get(tensor.file);
    if (before && tensor.offset < before.offset + before.bytes && !areColumnsOfOne(before, tensor)) {
      throw new Llama2Error("E_FORMAT", `${before.name} and ${tensor.name} in ${tensor.file.name} share their numbers`);
    }
    if (!before || before.offset + before.bytes < tensor.offset + tensor.bytes) ends.set(tensor.file, tensor);
  }
}

/** Whether two matrices are side by side in the rows of a larger one. */
function areColumnsOfOne(a: StoredTensor, b: StoredTensor): boolean {
  const stride = a.strides?.[0];
  if (!isNumberType(a.type) || a.type !== b.type || stride === undefined || stride !== b.strides?.[0]) return false;
  if (a.strides?.[1] !== 1 || b.strides?.[1] !== 1) return false;
  const apart = ((b.offset - a.offset) / NUMBER_BYTES[a.type]) % stride; // from a's first column to b's
  return apart >= a.shape[1] && apart + b.shape[1] <= stride;
}
