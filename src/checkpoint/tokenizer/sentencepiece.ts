/*
 * tokenizer.model, sentencepiece's own file: a protobuf message with the pieces and how text is prepared for them.
 */

import type { PreparingTokenizer } from "../../encode.ts";
import { Llama2Error } from "../../errors.ts";
import { decodeUtf8 } from "../json.ts";
import { compileCharsMap } from "./charsMap.ts";
import { buildFromPieces, PIECE_TYPES, type Piece } from "./pieces.ts";

/** Fields of sentencepiece_model.proto that are read. */
const MODEL = { pieces: 1, trainer: 2, normalizer: 3 };
const PIECE = { piece: 1, score: 2, type: 3 };
const TRAINER = { modelType: 3, whitespaceAsSuffix: 24, unkId: 40, bosId: 41, eosId: 42 };
const NORMALIZER = { charsMap: 2, addDummyPrefix: 3, removeExtraWhitespaces: 4, escapeWhitespaces: 5 };
const BPE = 2;

/**
 * Read the bytes of a tokenizer.model.
 * @param name of the file, for messages
 * @throws Llama2Error E_FORMAT, for other kinds of models too
 */
export function parseSentencePiece(bytes: Uint8Array, name: string): PreparingTokenizer {
  const refuse = (why: string) => new Llama2Error("E_FORMAT", `${name} is no tokenizer.model: ${why}`);
  const pieces: Piece[] = [];
  let trainer = new Map<number, number | Uint8Array>();
  let normalizer = new Map<number, number | Uint8Array>();
  for (const [field, value] of fields(bytes, refuse)) {
    if (typeof value === "number") continue;
    if (field === MODEL.pieces) pieces.push(parsePiece(value, pieces.length, refuse));
    if (field === MODEL.trainer) trainer = new Map(fields(value, refuse));
    if (field === MODEL.normalizer) normalizer = new Map(fields(value, refuse));
  }
  if (pieces.length === 0) throw refuse("it has no pieces");
  const number = (spec: Map<number, number | Uint8Array>, field: number, byDefault: number) => {
    const value = spec.get(field) ?? byDefault;
    if (typeof value === "number") return value;
    throw refuse(`field ${field} of its specification is no number`);
  };
  const type = number(trainer, TRAINER.modelType, 1);
  if (type !== BPE) throw refuse(`its model has the type ${type}, and byte pair encoding (${BPE}) is supported`);
  if (number(trainer, TRAINER.whitespaceAsSuffix, 0) !== 0) throw refuse("it puts white space behind words");
  if (number(normalizer, NORMALIZER.escapeWhitespaces, 1) !== 1) throw refuse("it does not escape white space");
  const charsMap = normalizer.get(NORMALIZER.charsMap);
  return buildFromPieces(pieces, {
    unkId: number(trainer, TRAINER.unkId, 0),
    bosId: number(trainer, TRAINER.bosId, 1),
    eosId: number(trainer, TRAINER.eosId, 2),
    spacePrefix: number(normalizer, NORMALIZER.addDummyPrefix, 1) === 1 ? "always" : "never",
    removeExtraSpaces: number(normalizer, NORMALIZER.removeExtraWhitespaces, 1) === 1,
    normalize: charsMap instanceof Uint8Array && charsMap.length > 0 ? compileCharsMap(charsMap, refuse) : undefined,
    refuse,
  });
}

function parsePiece(bytes: Uint8Array, id: number, refuse: (why: string) => Llama2Error): Piece {
  const piece: Piece = { text: "", score: 0, type: PIECE_TYPES.normal };
  for (const [field, value] of fields(bytes, refuse)) {
    if (field === PIECE.piece && value instanceof Uint8Array) {
      const text = decodeUtf8(value);
      if (text === undefined) throw refuse(`piece ${id} is not UTF-8`);
      piece.text = text;
    }
    if (field === PIECE.score && typeof value === "number") piece.score = value;
    if (field === PIECE.type && typeof value === "number") piece.type = value;
  }
  return piece;
}

/** A message's fields in order: numbers (varints and 32-bit floats) and bytes. */
function* fields(
  bytes: Uint8Array,
  refuse: (why: string) => Llama2Error,
): Generator<[field: number, value: number | Uint8Array], void> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const varint = (): number => {
    let value = 0;
    let high = 0n; // the bits from 2^49 on, which few numbers have: negative ones have all ten bytes
    for (let i = 0; i < 10; i++) {
      if (at >= bytes.length) throw refuse("it is cut short");
      const byte = bytes[at++];
      if (i < 7) value += (byte & 127) * 2 ** (7 * i);
      else high |= BigInt(byte & 127) << BigInt(7 * i);
      if (byte < 128) return high === 0n ? value : Number(BigInt.asIntN(64, high | BigInt(value)));
    }
    throw refuse("a number in it has more than ten bytes");
  };
  const skip = (length: number): number => {
    if (length > bytes.length - at || length < 0) throw refuse(`a field of ${length} bytes is cut short`);
    at += length;
    return at - length;
  };
  while (at < bytes.length) {
    const tag = varint();
    const field = Math.floor(tag / 8);
    const wireType = tag % 8;
    if (field < 1 || field >= 2 ** 29) throw refuse(`it has a field ${field}`);
    if (wireType === 0) yield [field, varint()];
    else if (wireType === 2) {
      const length = varint();
      const start = skip(length);
      yield [field, bytes.subarray(start, start + length)];
    } else if (wireType === 5) yield [field, view.getFloat32(skip(4), true)];
    else if (wireType === 1) skip(8);
    else throw refuse(`field ${field} has the wire type ${wireType}`);
  }
}
