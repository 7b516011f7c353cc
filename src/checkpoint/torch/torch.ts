/*
 * A file of torch.save: a zip that has a pickle, which describes the tensors, and their numbers.
 */
import { Llama2Error } from "../../errors.ts";
import type { ByteSource } from "../../files/bytes.ts";
import { decodeUtf8, quoted } from "../json.ts";
import type { StoredTensor } from "../stored.ts";
import { MAX_PICKLE_BYTES, parsePickle } from "./pickle.ts";
import { Dict, Tensor, type Value } from "./values.ts";
import { readZip, type ZipEntry } from "./zip.ts";

/** The contents of a checkpoint: the tensors of a model, and its shape in training checkpoints. */
export interface TorchFile {
  tensors: Map<string, StoredTensor>;
  /** The shape of the model, in llama2.c's training checkpoints. */
  modelArgs?: ReadonlyMap<string, Value>;
}

/** The bytes of a number, by type. */
const BYTES: Record<string, number> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};

/**
 * The tensors of a checkpoint: of a state dict, or of the "model" within a training checkpoint of llama2.c.
 * @throws Llama2Error E_FORMAT, E_LIMIT
 */
export async function openTorch(file: ByteSource): Promise<TorchFile> {
  const entries = await readZip(file);
  const refuse = (why: string) => new Llama2Error("E_FORMAT", `${file.name} is refused: ${why}`);
  await checkByteOrder(file, entries, refuse);
  const pickle = entries.get("data.pkl");
  if (!pickle) throw refuse("it has no data.pkl");
  if (pickle.size > MAX_PICKLE_BYTES) {
    throw refuse(`its pickle has ${pickle.size} bytes, expected at most ${MAX_PICKLE_BYTES}`);
  }
  const bytes = new Uint8Array(pickle.size);
  await file.read(bytes, pickle.offset);
  const root = parsePickle(bytes, file.name);
  if (!(root instanceof Dict)) throw refuse("its pickle holds no dict of tensors");

  const args = root.entries.get("model_args");
  const model = root.entries.get("model");
  const state = args instanceof Dict && model instanceof Dict ? model : root;
  const tensors = new Map<string, StoredTensor>();
  for (const [key, value] of state.entries) {
    if (typeof key !== "string" || !(value instanceof Tensor)) {
      throw refuse(`${quoted(String(key))} is not a tensor. What it holds: ${keysOf(root)}`);
    }
    tensors.set(key, store(file, entries, key, value, refuse));
  }
  return { tensors, modelArgs: args instanceof Dict ? (args.entries as Map<string, Value>) : undefined };
}

/** Files since PyTorch 2.1 have their byte order. */
async function checkByteOrder(
  file: ByteSource,
  entries: ReadonlyMap<string, ZipEntry>,
  refuse: (why: string) => Llama2Error,
): Promise<void> {
  const entry = entries.get("byteorder");
  if (!entry) return;
  const bytes = new Uint8Array(Math.min(entry.size, 16));
  await file.read(bytes, entry.offset);
  const order = decodeUtf8(bytes);
  if (order !== "little") throw refuse(`its byte order is ${quoted(order ?? "")}, expected "little"`);
}

/** A tensor with the place of its numbers in the file. */
function store(
  file: ByteSource,
  entries: ReadonlyMap<string, ZipEntry>,
  name: string,
  { storage, offset, shape, strides }: Tensor,
  refuse: (why: string) => Llama2Error,
): StoredTensor {
  const { key, type, length } = storage;
  const entry = entries.get(`data/${key}`);
  const size = BYTES[type];
  if (!entry) throw refuse(`the numbers of ${quoted(name)} are missing: there is no data/${key}`);
  if (entry.size !== length * size) {
    throw refuse(
      `data/${key} has ${entry.size} bytes, and the ${length} ${type} of ${quoted(name)} have ${length * size}`,
    );
  }
  const last = shape.reduce((sum, d, i) => sum + (d - 1) * strides[i], 0);
  const numbers = shape.includes(0) ? 0 : last + 1;
  return { name, type, shape, file, offset: entry.offset + offset * size, bytes: numbers * size, strides };
}

const keysOf = (dict: Dict): string =>
  [...dict.entries.keys()]
    .slice(0, 8)
    .map((key) => quoted(String(key)))
    .join(", ");
