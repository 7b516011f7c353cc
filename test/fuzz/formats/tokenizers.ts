/*
 * The files that hold tokenizers: sentencepiece's, Hugging Face's and llama2.c's.
 */
import { parseTokenizer } from "../../../src/checkpoint/tokenizer/bin.ts";
import { parseSentencePiece } from "../../../src/checkpoint/tokenizer/sentencepiece.ts";
import { parseTokenizerJson } from "../../../src/checkpoint/tokenizer/tokenizerJson.ts";
import { tokenizerJson as jsonOfPieces, varint } from "../../helpers/formats/sentencepiece.ts";
import { damaged, joined } from "../bytes.ts";
import type { Dice } from "../dice.ts";
import type { Target } from "../fuzz.ts";
import { changedTree, type Json, jsonBytes, treeOf } from "../json.ts";
import { useTokenizer } from "./reading.ts";

/** Unknown, BOS, EOS, the first bytes, and some pieces. */
const PIECES = [
  ...["<unk>", "<s>", "</s>", "<0x00>", "<0x01>", "\u2581", "a", "b", "ab", "\u2581a", "\u2581ab", "é", "\u2581\u2581"],
].map((text, id) => ({ text, score: -id, type: id === 0 ? 2 : id < 3 ? 3 : id < 5 ? 6 : 1 }));
/** One that is found in text as it is. */
const WHOLE = { text: "b\u2581", score: 0, type: 4 };

// ----------------------------------------------------------------------------
// tokenizer.model

/** A field of a protobuf message. */
type Field = { field: number; wire: number; value: number | Uint8Array | Field[] };

const bytesOf = (value: Field["value"]): Uint8Array =>
  Array.isArray(value) ? joined(...value.map(write)) : (value as Uint8Array);

function write({ field, wire, value }: Field): Uint8Array {
  const tag = varint(field * 8 + wire);
  if (typeof value === "number" && wire === 5) return joined(tag, new Uint8Array(Float32Array.of(value).buffer));
  if (typeof value === "number") return joined(tag, varint(Math.trunc(value)));
  const bytes = bytesOf(value);
  return wire === 2 ? joined(tag, varint(bytes.length), bytes) : joined(tag, bytes.subarray(0, wire === 1 ? 8 : 4));
}

const number = (field: number, value: number): Field => ({ field, wire: 0, value });
const text = (field: number, value: string): Field => ({ field, wire: 2, value: Buffer.from(value) });
const inner = (field: number, value: Field[]): Field => ({ field, wire: 2, value });

/** Rules of normalization: a trie with the key "a", for which "b" is written. */
const trie = new Uint32Array(256);
trie[0] = 128 << 10; // the children of the root
trie[128 ^ 97] = 97 | (1 << 8) | (1 << 10); // "a", and where its leaf is
trie[128 ^ 97 ^ 1] = 0x80000000; // the leaf: the text at 0
const charsMap = joined(Uint8Array.of(0, 4, 0, 0), new Uint8Array(trie.buffer), Buffer.from("b\0"));
const modelOf = (normalizer: Field[], some: typeof PIECES = []): Field[] => [
  ...[...PIECES, ...some].map(({ text: piece, score, type }) =>
    inner(1, [text(1, piece), { field: 2, wire: 5, value: score }, number(3, type)]),
  ),
  inner(2, [number(3, 2), number(24, 0), number(40, 0), number(41, 1), number(42, 2)]),
  inner(3, normalizer),
];
const MODELS = [
  modelOf([number(4, 0)]),
  modelOf([number(4, 0)], [WHOLE]),
  modelOf([number(3, 1), number(4, 1), number(5, 1), { field: 2, wire: 2, value: charsMap }]),
];

function changedMessage(fields: readonly Field[], dice: Dice): Field[] {
  const copy = [...fields];
  const at = dice.below(copy.length);
  const { field, wire, value } = copy[at] ?? number(1, 1);
  if (Array.isArray(value) && dice.chance(0.7)) {
    copy[at] = { field, wire, value: changedMessage(value, dice) };
    return copy;
  }
  switch (dice.below(4)) {
    case 0:
      copy.splice(at, 1);
      break;
    case 1:
      copy.push(copy[dice.below(copy.length)] ?? number(1, 1));
      break;
    case 2:
      copy[at] = { field: dice.chance(0.5) ? dice.below(50) : Math.abs(dice.whole()), wire: dice.below(6), value };
      break;
    default:
      copy[at] = { field, wire, value: otherValue(value, dice) };
  }
  return copy;
}

function otherValue(value: Field["value"], dice: Dice): Field["value"] {
  if (typeof value === "number") return dice.number();
  return dice.chance(0.5) ? Buffer.from(dice.text()) : damaged(bytesOf(value), dice, 0.9);
}

export const tokenizerModel: Target = {
  name: "tokenizer-model",
  files: ["checkpoint/tokenizer/sentencepiece", "checkpoint/tokenizer/charsMap", "checkpoint/tokenizer/pieces"],
  make(dice) {
    let fields = dice.pick(MODELS);
    for (let changes = dice.below(4); changes > 0; changes--) fields = changedMessage(fields, dice);
    return { "tokenizer.model": damaged(joined(...fields.map(write)), dice, 0.2) };
  },
  async read({ "tokenizer.model": bytes }) {
    useTokenizer(parseSentencePiece(bytes, "tokenizer.model"));
  },
};

// ----------------------------------------------------------------------------
// tokenizer.json

const jsonOf = (changes: object): Json => treeOf({ ...jsonOfPieces(PIECES), ...changes });
const METASPACE = { type: "Metaspace", replacement: "\u2581", prepend_scheme: "first", split: false };
const JSONS = [jsonOf({}), jsonOf({ normalizer: null, pre_tokenizer: METASPACE })];

export const tokenizerJson: Target = {
  name: "tokenizer-json",
  files: ["checkpoint/tokenizer/tokenizerJson", "checkpoint/tokenizer/pieces", "checkpoint/json"],
  make: (dice) => ({ "tokenizer.json": damaged(jsonBytes(changedTree(dice.pick(JSONS), dice)), dice, 0.1) }),
  async read({ "tokenizer.json": bytes }) {
    useTokenizer(parseTokenizerJson(bytes, "tokenizer.json"));
  },
};

// ----------------------------------------------------------------------------
// tokenizer.bin

export const tokenizerBin: Target = {
  name: "tokenizer-bin",
  files: ["checkpoint/tokenizer/bin", "llama2/tokenizer"],
  make(dice) {
    const longest = new Uint8Array(4);
    new DataView(longest.buffer).setUint32(0, dice.chance(0.5) ? 8 : dice.next(), true);
    const entries = PIECES.map(({ text, score }) => ({
      bytes: Buffer.from(text.replaceAll("\u2581", " ")),
      score,
      length: -1,
    }));
    for (let changes = dice.below(3); changes > 0; changes--) {
      const at = dice.below(entries.length);
      switch (dice.below(4)) {
        case 0:
          entries.splice(at, dice.below(2), entries[dice.below(entries.length)]);
          break;
        case 1:
          entries[at] = { ...entries[at], score: dice.number() };
          break;
        case 2:
          entries[at] = { ...entries[at], bytes: Buffer.from(dice.text()) };
          break;
        default:
          entries[at] = { ...entries[at], length: dice.whole() };
      }
    }
    const parts = entries.map(({ bytes, score, length }) => {
      const head = new DataView(new ArrayBuffer(8));
      head.setFloat32(0, score, true);
      head.setInt32(4, length === -1 ? bytes.length : length, true);
      return joined(new Uint8Array(head.buffer), bytes);
    });
    return { "tokenizer.bin": damaged(joined(longest, ...parts), dice, 0.3) };
  },
  async read({ "tokenizer.bin": bytes }) {
    useTokenizer(parseTokenizer(bytes, "tokenizer.bin"));
  },
};
