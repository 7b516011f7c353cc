/*
 * The files that hold weights: safetensors, GGUF and PyTorch's.
 */
import { openGgufModel, openHuggingFace, openMeta, openTraining } from "../../../src/checkpoint/foreign.ts";
import { type GgufEntry, ggufBytes, ggufKeys } from "../../helpers/formats/gguf.ts";
import { huggingFaceConfig, huggingFaceTensors, type SeededModel, seededModel } from "../../helpers/formats/model.ts";
import { encodeNumbers, type TensorToWrite } from "../../helpers/formats/numbers.ts";
import { memoryFile, memoryFiles } from "../../helpers/formats/source.ts";
import { addTensors, Pickle, storageEntries } from "../../helpers/formats/torch.ts";
import { type Entry, type ZipOptions, zipBytes } from "../../helpers/formats/zip.ts";
import { damaged, joined } from "../bytes.ts";
import type { Dice } from "../dice.ts";
import type { Input, Target } from "../fuzz.ts";
import { changedTree, type Json, jsonBytes, treeOf } from "../json.ts";
import { readWeights, useTokenizer } from "./reading.ts";

/** dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen */
export const TINY = [4, 6, 1, 2, 1, 5, 8] as const;
/** The same with rows of whole blocks of int8. */
const BLOCKS = [32, 32, 1, 2, 1, 6, 8] as const;

// ----------------------------------------------------------------------------
// safetensors

export const huggingFace = seededModel(TINY, "hf", "F16", { norms: "F32" });
const tensors = huggingFaceTensors(huggingFace);

/** The header and the numbers of a file with these tensors. */
function parts(some: readonly TensorToWrite[]): { header: Json; data: Uint8Array } {
  const numbers = some.map(({ type, values }) => encodeNumbers(type, values));
  let at = 0;
  const entries = some.map(({ name, type, shape }, i) => {
    const from = at;
    at += numbers[i].length;
    return [name, { dtype: type, shape, data_offsets: [from, at] }];
  });
  const header = treeOf({ __metadata__: { format: "pt" }, ...Object.fromEntries(entries) });
  return { header, data: joined(...numbers) };
}
/** Most inputs are the first tensors alone: no whole model, but read as one, and in a fraction of the time. */
const FEW = 2;
const all = parts(tensors);
const few = parts(tensors.slice(0, FEW));

function safetensorsFile(json: Uint8Array, data: Uint8Array, said = json.length): Uint8Array {
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt.asUintN(64, BigInt(said)), true);
  return joined(length, json, data);
}
/** A good file of the tensors from `first` to before `end`. */
export function safetensorsOf(first?: number, end?: number): Uint8Array {
  const { header, data } = parts(tensors.slice(first, end));
  return safetensorsFile(jsonBytes(header), data);
}
export const tensorNames = tensors.map(({ name }) => name);
export const configBytes = Buffer.from(huggingFaceConfig(huggingFace));

export const safetensors: Target = {
  name: "safetensors",
  files: ["checkpoint/safetensors", "checkpoint/json", "checkpoint/storedWeights"],
  make(dice) {
    const { header, data } = dice.chance(0.8) ? few : all;
    const json = jsonBytes(dice.chance(0.85) ? changedTree(header, dice) : header);
    const file = safetensorsFile(json, data, dice.chance(0.05) ? dice.whole() : undefined);
    return { "config.json": configBytes, "model.safetensors": damaged(file, dice, 0.15) };
  },
  read: readHuggingFace,
};

export async function readHuggingFace(input: Input): Promise<void> {
  const files = memoryFiles(input);
  const model = await openHuggingFace(files, Object.keys(input), (name) => files.open(name));
  await readWeights(model.weights());
}

// ----------------------------------------------------------------------------
// GGUF

const ggufModels = (["F32", "F16", "BF16", "Q8_0"] as const).map((type) =>
  seededModel(BLOCKS, "gguf", type).tensors.map((tensor) => {
    return { ...tensor, encoded: encodeNumbers(tensor.type, tensor.values) };
  }),
);
const TOKENS: GgufEntry[] = [
  ["tokenizer.ggml.model", 8, "llama"],
  ["tokenizer.ggml.tokens", 9, { type: 8, items: ["<unk>", "<s>", "</s>", "\u2581", "a", "\u2581a"] }],
  ["tokenizer.ggml.scores", 9, { type: 6, items: [0, 0, 0, -1, -2, -3] }],
  ["tokenizer.ggml.token_type", 9, { type: 5, items: [2, 3, 3, 1, 1, 1] }],
  ["tokenizer.ggml.bos_token_id", 4, 1],
  ["general.alignment", 4, 32],
];
const KEYS = ggufKeys(BLOCKS, TOKENS);

export const gguf: Target = {
  name: "gguf",
  files: ["checkpoint/gguf", "checkpoint/tokenizer/ggufTokenizer"],
  make(dice) {
    const entries = [...KEYS];
    const some: TensorToWrite[] = dice.pick(ggufModels).slice(0, dice.chance(0.85) ? FEW : undefined);
    for (let changes = dice.below(3); changes > 0; changes--) {
      if (dice.chance(0.6)) changeEntry(entries, dice);
      else changeTensor(some, dice);
    }
    const options = dice.chance(0.05) ? { version: dice.whole() } : {};
    const bytes = ggufBytes(entries, some, options);
    // what precedes the tensors is where the numbers are that matter
    const head = bytes.length - some.reduce((sum, { encoded }) => sum + (encoded?.length ?? 0), 0);
    return { "m.gguf": joined(damaged(bytes.subarray(0, head), dice, 0.3), damaged(bytes.subarray(head), dice, 0.05)) };
  },
  async read({ "m.gguf": bytes }) {
    const model = await openGgufModel(memoryFile(bytes, "m.gguf"));
    const tokenizer = model.tokenizer?.();
    if (tokenizer) useTokenizer(tokenizer);
    await readWeights(model.weights());
  },
};

function changeEntry(entries: GgufEntry[], dice: Dice): void {
  const index = dice.below(entries.length);
  const [key, type, value] = entries[index];
  switch (dice.below(5)) {
    case 0:
      entries.splice(index, 1);
      break;
    case 1:
      entries.push(entries[index]);
      break;
    case 2:
      entries[index] = [dice.pick([dice.text(), ...EXTRA_KEYS]), type, value];
      break;
    case 3: {
      const items = Array.from({ length: dice.below(8) }, () => (dice.chance(0.5) ? dice.text() : dice.number()));
      entries[index] = [
        key,
        9,
        dice.chance(0.5) ? { type: 8, items: items.map(String) } : { type: 6, items: items.map(Number) },
      ];
      break;
    }
    default:
      entries[index] = dice.chance(0.5)
        ? [key, 8, dice.text()]
        : [key, dice.pick([0, 4, 5, 6, 7, 10]), wrapped(dice.number())];
  }
}
const EXTRA_KEYS = [
  ...["split.count", "llama.expert_count", "llama.rope.scaling.type", "llama.rope.scale_linear", "llama.vocab_size"],
  ...["llama.attention.key_length", "tokenizer.ggml.add_space_prefix", "tokenizer.ggml.unknown_token_id"],
];
/** A number as 64 bits hold it. */
const wrapped = (value: number): number => (Number.isSafeInteger(value) && value >= 0 ? value : 1);

function changeTensor(some: TensorToWrite[], dice: Dice): void {
  const index = dice.below(some.length);
  const tensor = some[index];
  switch (dice.below(4)) {
    case 0:
      some.splice(index, 1);
      break;
    case 1:
      some.push(dice.chance(0.5) ? tensor : { ...tensor, name: dice.text() });
      break;
    case 2: {
      const shape = [...tensor.shape];
      shape[dice.below(shape.length)] = Math.max(0, dice.whole());
      some[index] = { ...tensor, shape };
      break;
    }
    default:
      some[index] = { ...tensor, shape: Array.from({ length: dice.below(6) }, () => dice.pick([0, 1, 2, 32, 64])) };
  }
}

// ----------------------------------------------------------------------------
// PyTorch

export const meta = seededModel(TINY, "meta", "F16");
export const metaParams = {
  dim: 4,
  n_layers: 1,
  n_heads: 2,
  n_kv_heads: 1,
  norm_eps: 1e-5,
  vocab_size: -1,
  max_seq_len: 8,
};
const params = Buffer.from(JSON.stringify(metaParams));
const metaPickle = addTensors(Pickle.begin(), meta.tensors).end();
export const metaEntries = torchEntries(metaPickle, meta);
const fewMeta = { ...meta, tensors: meta.tensors.slice(0, FEW) };
const fewPickle = addTensors(Pickle.begin(), fewMeta.tensors).end();
export const fewEntries = torchEntries(fewPickle, fewMeta);

/** The pickle of a training checkpoint. */
function trainingPickle(): Uint8Array {
  const pickle = Pickle.begin().raw(0x7d).put().op("(").text("model");
  addTensors(pickle, meta.tensors, "_orig_mod.").text("model_args").raw(0x7d).put().op("(");
  for (const [key, value] of Object.entries({ ...metaParams, vocab_size: 5 })) pickle.text(key).whole(Math.ceil(value));
  return pickle
    .op("u")
    .text("best_val_loss")
    .float(1.5)
    .text("config")
    .raw(0x5d)
    .put()
    .op("(")
    .whole(1)
    .op("e")
    .op("u")
    .end();
}

function torchEntries(pickle: Uint8Array, { tensors }: SeededModel): Entry[] {
  return [
    { name: "archive/data.pkl", data: pickle },
    { name: "archive/byteorder", data: Buffer.from("little") },
    ...storageEntries(tensors),
    { name: "archive/version", data: Buffer.from("3\n") },
  ];
}

/** The same tensors as columns of their storages: those of a matrix that was turned. */
function turnedPickle(): Uint8Array {
  const pickle = Pickle.begin().orderedDict().put().op("(");
  meta.tensors.forEach(({ name, shape, values }, key) => {
    const [d, n] = shape;
    const strides = n === undefined ? [1] : [1, d];
    pickle.text(name).tensor((p) => p.storage("HalfStorage", `${key}`, values.length), 0, [...shape], strides);
  });
  return pickle.op("u").end();
}

const statePieces = opcodesOf(metaPickle);
const fewPieces = opcodesOf(fewPickle);
const turnedPieces = opcodesOf(turnedPickle());
const trainingPieces = opcodesOf(trainingPickle());

export const torch: Target = {
  name: "torch",
  files: ["checkpoint/torch/pickle", "checkpoint/torch/zip", "checkpoint/torch/torch", "checkpoint/stored"],
  make(dice): Input {
    const isTraining = dice.chance(0.08);
    const isFew = !isTraining && dice.chance(0.9);
    const opcodes = isFew ? fewPieces : isTraining ? trainingPieces : dice.chance(0.5) ? turnedPieces : statePieces;
    const pickle = damaged(joined(...(dice.chance(0.6) ? changedOpcodes(opcodes, dice) : opcodes)), dice, 0.1);
    const entries: Entry[] = [
      { name: "archive/data.pkl", data: pickle },
      ...(isFew ? fewEntries : metaEntries).slice(1),
    ];
    const options: ZipOptions = { align: 1, end64: dice.chance(0.5) };
    if (dice.chance(0.3)) changeZip(entries, options, dice);
    const bytes = damaged(zipBytes(entries, options), dice, 0.1);
    if (isTraining) return { "ckpt.pt": bytes };
    return { "params.json": params, "consolidated.00.pth": bytes };
  },
  read: readTorch,
};

export async function readTorch(input: Input): Promise<void> {
  if (input["ckpt.pt"]) {
    await readWeights((await openTraining(memoryFile(input["ckpt.pt"], "ckpt.pt"))).weights());
    return;
  }
  const files = memoryFiles(input);
  const model = await openMeta(files, Object.keys(input), (name) => files.open(name));
  await readWeights(model.weights());
}

/** A pickle opcode by opcode. */
function opcodesOf(pickle: Uint8Array): Uint8Array[] {
  const ARGUMENTS: Record<number, number> = { 128: 1, 113: 1, 114: 4, 104: 1, 106: 4, 75: 1, 77: 2, 74: 4, 71: 8 };
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < pickle.length; ) {
    let end = at + 1 + (ARGUMENTS[pickle[at]] ?? 0);
    if (pickle[at] === 0x58) end += 4 + new DataView(pickle.buffer, pickle.byteOffset + at + 1).getUint32(0, true);
    if (pickle[at] === 0x8a) end += 1 + pickle[at + 1];
    if (pickle[at] === 0x63) end = pickle.indexOf(10, pickle.indexOf(10, at) + 1) + 1;
    pieces.push(pickle.slice(at, end));
    at = end;
  }
  return pieces;
}

function changedOpcodes(opcodes: readonly Uint8Array[], dice: Dice): Uint8Array[] {
  const result = [...opcodes];
  for (let changes = dice.below(3); changes >= 0; changes--) {
    const index = 1 + dice.below(result.length - 1);
    switch (dice.below(6)) {
      case 0:
        result.splice(index, 1 + dice.below(3));
        break;
      case 1:
        result.splice(index, 0, ...result.slice(index, index + 1 + dice.below(4)));
        break;
      case 2:
        [result[index], result[dice.below(result.length)]] = [result[dice.below(result.length)], result[index]];
        break;
      case 3:
        result.splice(index, 0, opcode(dice));
        break;
      case 4:
        result[index] = opcode(dice);
        break;
      default:
        result[index] = otherArgument(result[index], dice);
    }
  }
  return result;
}

/** An opcode that may or may not be allowed. */
function opcode(dice: Dice): Uint8Array {
  switch (dice.below(6)) {
    case 0:
      return Buffer.from(`c${dice.pick(GLOBALS)}\n`);
    case 1:
      return whole(dice.whole());
    case 2: {
      const text = Buffer.from(dice.text());
      const length = Buffer.alloc(4);
      length.writeUInt32LE(text.length);
      return joined(Buffer.from("X"), length, text);
    }
    case 3:
      return Uint8Array.of(dice.pick([0x68, 0x71]), dice.below(64));
    case 4:
      return Buffer.from(
        dice.pick(["(", ")", "}", "]", "t", "R", "Q", "b", "s", "u", "a", "e", ".", "N", "\x85", "\x86", "\x87"]),
        "latin1",
      );
    default:
      return Uint8Array.of(dice.below(256));
  }
}
const GLOBALS = [
  ...[
    "collections\nOrderedDict",
    "torch._utils\n_rebuild_tensor_v2",
    "torch._utils\n_rebuild_parameter",
    "torch\nHalfStorage",
  ],
  ...[
    "torch\nFloatStorage",
    "os\nsystem",
    "builtins\neval",
    "torch.serialization\nload",
    "numpy.core.multiarray\n_reconstruct",
  ],
  ...[
    "torch._utils\n_rebuild_sparse_tensor",
    "__builtin__\ngetattr",
    "collections\nOrderedDict.__init__",
    "torch\nload",
  ],
];

function otherArgument(piece: Uint8Array, dice: Dice): Uint8Array {
  if (piece[0] === 0x4b || piece[0] === 0x4d || piece[0] === 0x4a) return whole(dice.whole());
  const copy = piece.slice();
  if (copy.length > 1) copy[1 + dice.below(copy.length - 1)] = dice.below(256);
  return copy;
}

function whole(value: number): Uint8Array {
  const bytes = Buffer.alloc(10);
  bytes[0] = 0x8a;
  bytes[1] = 8;
  bytes.writeBigInt64LE(BigInt.asIntN(64, BigInt(Math.trunc(value))), 2);
  return bytes;
}

/** Records that lie: what the directory and the records say, and what is around them. */
function changeZip(entries: Entry[], options: ZipOptions, dice: Dice): void {
  const index = dice.below(entries.length);
  const entry = entries[index];
  const field = dice.pick(["flags", "method", "crc", "size"] as const);
  const value = dice.chance(0.5) ? dice.pick([0, 1, 4, 8, 0x800, 0x808, 0xffff]) : dice.next() >>> dice.below(32);
  const small = field === "flags" || field === "method" ? value & 0xffff : value;
  switch (dice.below(9)) {
    case 0:
      entries[index] = { ...entry, local: { [field]: small } };
      break;
    case 1:
      entries[index] = {
        ...entry,
        central: { [dice.pick([field, "packed", "offset", "attributes"] as const)]: small },
      };
      break;
    case 2:
      entries[index] = {
        ...entry,
        name: dice.pick(["archive/data/0", "archive/x", "other/data.pkl", "../data.pkl", dice.text()]),
      };
      break;
    case 3:
      entries.splice(index, dice.below(2), ...(dice.chance(0.5) ? [entry] : []));
      break;
    case 4:
      options.patchEnd = (...views) => {
        const view = dice.pick(views);
        view.setUint32(4 * dice.below(view.byteLength >> 2), dice.next() >>> dice.below(32), true);
      };
      break;
    case 5:
      entries[index] = {
        ...entry,
        central: { extra: joined(Uint8Array.of(1, 0, 8, 0), new Uint8Array(dice.below(24))) },
      };
      break;
    case 7:
      options[dice.pick(["before", "gap", "after"] as const)] = new Uint8Array(dice.below(70));
      break;
    default:
      entries[index] = { ...entry, data: entry.data.subarray(0, dice.below(entry.data.length + 1)) };
  }
}
