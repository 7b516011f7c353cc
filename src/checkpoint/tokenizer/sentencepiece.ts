/*
 * tokenizer.model, sentencepiece's format: a protobuf message with the pieces and the settings of its normalizer.
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
/** The largest vocabularies of other models have 262,144. */
const MAX_PIECES = 300_000;

/**
 * Read the bytes of a tokenizer.model.
 * @param name of the file, for messages
 * @throws Llama2Error E_FORMAT, for other kinds of models too; E_LIMIT
 */
export function parseSentencePiece(bytes: Uint8Array, name: string): PreparingTokenizer {
  const refuse = (why: string) => new Llama2Error("E_FORMAT", `${name} is not a tokenizer.model: ${why}`);
  const pieces: Piece[] = [];
  let trainer = new Map<number, number | Uint8Array>();
  let normalizer = new Map<number, number | Uint8Array>();
  const model = new Message(bytes, refuse);
  while (model.next()) {
    const { field, value } = model;
    if (typeof value === "number") continue;
    if (field === MODEL.pieces) {
      if (pieces.length === MAX_PIECES) {
        throw new Llama2Error(
          "E_LIMIT",
          `${name} has more than ${MAX_PIECES} pieces, which is more than can be handled`,
        );
      }
      pieces.push(parsePiece(value, pieces.length, refuse));
    }
    if (field === MODEL.trainer) trainer = fieldsOf(value, refuse);
    if (field === MODEL.normalizer) normalizer = fieldsOf(value, refuse);
  }
  if (pieces.length === 0) throw refuse("it has no pieces");
  const number = (spec: Map<number, number | Uint8Array>, field: number, byDefault: number) => {
    const value = spec.get(field) ?? byDefault;
    if (typeof value === "number") return value;
    throw refuse(`field ${field} of its specification is not a number`);
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
  const message = new Message(bytes, refuse);
  while (message.next()) {
    const { field, value } = message;
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

/** All fields of a message; the last one if a field occurs several times. */
function fieldsOf(bytes: Uint8Array, refuse: (why: string) => Llama2Error): Map<number, number | Uint8Array> {
  const all = new Map<number, number | Uint8Array>();
  const message = new Message(bytes, refuse);
  while (message.next()) all.set(message.field, message.value);
  return all;
}

/** A message, field by field in order: numbers (varints and 32-bit floats) and bytes. */
class Message {
  field = 0;
  value: number | Uint8Array = 0;
  private readonly bytes: Uint8Array;
  private readonly refuse: (why: string) => Llama2Error;
  private at = 0;

  constructor(bytes: Uint8Array, refuse: (why: string) => Llama2Error) {
    this.bytes = bytes;
    this.refuse = refuse;
  }

  /** Go to the next field; false at the end. */
  next(): boolean {
    while (this.at < this.bytes.length) {
      const tag = this.varint();
      this.field = Math.floor(tag / 8);
      const wireType = tag % 8;
      if (this.field < 1 || this.field >= 2 ** 29) throw this.refuse(`it has a field ${this.field}`);
      if (wireType === 0) this.value = this.varint();
      else if (wireType === 2) this.value = this.take(this.varint());
      else if (wireType === 5) this.value = floatOf(this.take(4));
      else if (wireType === 1) this.take(8);
      else throw this.refuse(`field ${this.field} has the wire type ${wireType}`);
      if (wireType !== 1) return true;
    }
    return false;
  }

  private varint(): number {
    let value = 0;
    let high = 0n; // the bits from 2^49 on, which few numbers have: negative ones have all ten bytes
    for (let i = 0; i < 10; i++) {
      if (this.at >= this.bytes.length) throw this.refuse("it is cut short");
      const byte = this.bytes[this.at++];
      if (i < 7) value += (byte & 127) * 2 ** (7 * i);
      else high |= BigInt(byte & 127) << BigInt(7 * i);
      if (byte < 128) return high === 0n ? value : Number(BigInt.asIntN(64, high | BigInt(value)));
    }
    throw this.refuse("a number in it has more than ten bytes");
  }

  private take(length: number): Uint8Array {
    if (length > this.bytes.length - this.at || length < 0) {
      throw this.refuse(`a field of ${length} bytes is cut short`);
    }
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
}

const FLOAT = new Float32Array(1);
const FLOAT_BYTES = new Uint8Array(FLOAT.buffer);
/** The float32 of four little-endian bytes. */
function floatOf(bytes: Uint8Array): number {
  FLOAT_BYTES.set(bytes);
  return FLOAT[0];
}
