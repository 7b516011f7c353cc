/*
 * Tokenizer files, made by the tests.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Tokenizer, tokenizerOf } from "../../src/llama2/tokenizer.ts";
import { tempDir } from "./temp.ts";

/** A piece, as a byte string, and its score. */
export type Piece = readonly [piece: string, score: number];

/** Unknown, BOS, EOS and the 256 bytes, with which every real vocabulary begins. */
export const BYTE_VOCAB: readonly Piece[] = [
  ["<unk>", 0],
  ["\n<s>\n", 0],
  ["\n</s>\n", 0],
  ...Array.from({ length: 256 }, (_, byte): Piece => [`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`, 0]),
];

/** A vocabulary of `size` pieces: the bytes, a space, and pieces that no text has. */
export function vocabOf(size: number): Piece[] {
  const fill = Array.from({ length: size - 260 }, (_, i): Piece => [`\x01${i}`, -i]);
  return [...BYTE_VOCAB, [" ", 0], ...fill];
}

/** The same pieces, with the bytes as llama2.c wrote them in July and August 2023: as the character of each byte. */
export function withOldBytes(pieces: readonly Piece[]): Piece[] {
  return pieces.map(([piece, score], token): Piece => {
    const isByte = token >= 3 && token < 259;
    return [isByte ? Buffer.from(String.fromCharCode(token - 3)).toString("latin1") : piece, score];
  });
}

/** A tokenizer of these pieces. */
export function tokenizerFrom(pieces: readonly Piece[]): Tokenizer {
  return tokenizerOf(
    pieces.map(([piece]) => piece),
    Float32Array.from(pieces, ([, score]) => score),
  );
}

/** The pieces of a tokenizer. */
export const piecesOf = (t: Tokenizer): Piece[] => t.vocab.map((piece, token) => [piece, t.vocabScores[token]]);

/** tokenizer.bin's bytes. */
export function tokenizerBytes(
  pieces: readonly Piece[],
  maxTokenLength = Math.max(0, ...pieces.map(([piece]) => piece.length)),
): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32LE(maxTokenLength);
  return Buffer.concat([head, ...pieces.map(entryBytes)]);
}

function entryBytes([piece, score]: Piece): Buffer {
  const head = Buffer.alloc(8);
  head.writeFloatLE(score);
  head.writeInt32LE(piece.length, 4);
  return Buffer.concat([head, Buffer.from(piece, "latin1")]);
}

/** The same, as a file: in `folder`, or one that is gone after the tests. */
export function tokenizerFile(pieces: readonly Piece[], name = "tokenizer.bin", folder = tempDir()): string {
  const path = join(folder, name);
  writeFileSync(path, tokenizerBytes(pieces));
  return path;
}
