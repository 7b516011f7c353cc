/*
 * PyTorch's files: Meta's, and those of a training run.
 */
import { openMeta, openTraining } from "../../../src/checkpoint/foreign.ts";
import { type SeededModel, seededModel } from "../../helpers/formats/model.ts";
import { memoryFile, memoryFiles } from "../../helpers/formats/source.ts";
import { addTensors, Pickle, storageEntries } from "../../helpers/formats/torch.ts";
import { type Entry, type ZipOptions, zipBytes } from "../../helpers/formats/zip.ts";
import { damaged, joined } from "../bytes.ts";
import type { Dice } from "../dice.ts";
import type { Input, Target } from "../fuzz.ts";
import { readWeights } from "./reading.ts";
import { FEW, TINY } from "./sizes.ts";

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

/** Zip files with wrong values in the directory, in the records and around them. */
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
