/*
 * Makes a tokenizer from the pieces in other programs' files, and from how those programs prepare text.
 *
 * llama2.c's encoder merges neighbours by the scores of their joint pieces: sentencepiece's byte pair encoding. Its files
 * cannot express how text is normalized before that, nor pieces that are matched whole.
 */

import type { PreparingTokenizer } from "../../encode.ts";
import type { Llama2Error } from "../../errors.ts";
import { BOS, EOS, FIRST_BYTE, tokenizerOf, UNK } from "../../llama2/tokenizer.ts";

/** The types of pieces, with sentencepiece's and llama.cpp's numbers. */
export const PIECE_TYPES = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 };
const TYPES: readonly number[] = Object.values(PIECE_TYPES);

export interface Piece {
  text: string; // with U+2581 for a space
  score: number;
  type: number;
}

export interface PieceOptions {
  unkId: number;
  bosId: number;
  eosId: number;
  /** Whether a space is put before the text: always, unless it begins with one, or never. */
  spacePrefix: "always" | "unlessSpace" | "never";
  /** Whether several spaces become one, and those at the ends are removed. */
  removeExtraSpaces: boolean;
  /** Normalizes text to the letters of the pieces. */
  normalize?: (text: string) => string;
  refuse: (why: string) => Llama2Error;
}

/**
 * A tokenizer of these pieces.
 * @throws Llama2Error E_FORMAT if the special tokens do not have Llama 2's ids
 */
export function buildFromPieces(pieces: readonly Piece[], options: PieceOptions): PreparingTokenizer {
  const { unkId, bosId, eosId, refuse } = options;
  if (unkId !== UNK || bosId !== BOS || eosId !== EOS) {
    throw refuse(
      `unknown, BOS and EOS are the tokens ${unkId}, ${bosId}, ${eosId}, and Llama 2's are ${UNK}, ${BOS}, ${EOS}`,
    );
  }
  if (pieces.length <= EOS) throw refuse(`it has ${pieces.length} tokens, expected unknown, BOS and EOS at least`);
  checkTypes(pieces, refuse);
  const vocab = pieces.map(({ text }, id) => {
    // as llama2.c's exporter writes them, so that no text encodes to them
    if (id === BOS || id === EOS) return `\n${id === BOS ? "<s>" : "</s>"}\n`;
    return toBytes(text.replaceAll("\u2581", " "));
  });
  const tokenizer = tokenizerOf(
    vocab,
    Float32Array.from(pieces, ({ score }) => score),
  );
  const whole = new Map(
    vocab.flatMap((piece, id) => (pieces[id].type === PIECE_TYPES.userDefined && piece !== "" ? [[piece, id]] : [])),
  );
  const plain =
    whole.size === 0 && !options.removeExtraSpaces && !options.normalize && options.spacePrefix === "always";
  if (plain) return tokenizer;
  return { ...tokenizer, prepare: preparation(options, whole), ownFirstSpace: options.spacePrefix === "never" };
}

function checkTypes(pieces: readonly Piece[], refuse: (why: string) => Llama2Error): void {
  pieces.forEach(({ text, type, score }, id) => {
    if (!TYPES.includes(type)) throw refuse(`piece ${id} has the type ${type}`);
    if (type === PIECE_TYPES.unused) throw refuse(`piece ${id} is one that must not be used, which is not supported`);
    if (Number.isNaN(score)) throw refuse(`piece ${id} has a score that is NaN`);
    const byte = id - FIRST_BYTE;
    const isByte = byte >= 0 && byte < 256 && text === `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
    if (type === PIECE_TYPES.byte && !isByte) throw refuse(`piece ${id} is a byte, and is not where Llama 2 has it`);
  });
}

/** Splits a text into the parts to be merged, and the tokens of pieces that are matched whole. */
function preparation(
  options: PieceOptions,
  whole: ReadonlyMap<string, number>,
): NonNullable<PreparingTokenizer["prepare"]> {
  const { spacePrefix, removeExtraSpaces, normalize } = options;
  const find = whole.size === 0 ? undefined : finder(whole);
  return (text) => {
    const parts: (string | number)[] = [];
    let start = 0; // of the part that has no such piece
    for (let at = 0; find && at < text.length; ) {
      const piece = find(text, at);
      if (piece === undefined) {
        at++;
        continue;
      }
      parts.push(normalized(text.slice(start, at)), whole.get(piece) as number);
      at += piece.length;
      start = at;
    }
    parts.push(normalized(text.slice(start)));
    return tidy(parts);
  };

  function normalized(part: string): string {
    return normalize ? normalize(part) : part;
  }

  function tidy(parts: (string | number)[]): (string | number)[] {
    if (removeExtraSpaces) {
      const last = parts.length - 1;
      for (let i = 0; i <= last; i++) {
        const part = parts[i];
        if (typeof part !== "string") continue;
        let tidied = part.replace(/ +/g, " ");
        if (i === 0) tidied = tidied.replace(/^ /, "");
        if (i === last) tidied = tidied.replace(/ $/, "");
        parts[i] = tidied;
      }
    }
    const first = parts[0];
    const empty = parts.every((part) => part === "");
    const needed = spacePrefix === "always" || (spacePrefix === "unlessSpace" && !String(first).startsWith(" "));
    if (!empty && needed) parts[0] = ` ${first}`;
    return parts.filter((part) => part !== "");
  }
}

/** Finds the longest of these pieces at a position of a text. */
function finder(whole: ReadonlyMap<string, number>): (text: string, at: number) => string | undefined {
  const lengths = new Map<string, number[]>(); // by first letter: the lengths of its pieces, the longest first
  for (const piece of [...whole.keys()].sort((a, b) => b.length - a.length)) {
    const some = lengths.get(piece[0]);
    if (!some) lengths.set(piece[0], [piece.length]);
    else if (some.at(-1) !== piece.length) some.push(piece.length);
  }
  return (text, at) => {
    for (const length of lengths.get(text[at]) ?? []) {
      const piece = text.slice(at, at + length);
      if (whole.has(piece)) return piece;
    }
    return undefined;
  };
}

/** UTF-8, a character of the result for each byte. */
function toBytes(text: string): string {
  let bytes = "";
  for (const byte of UTF8.encode(text)) bytes += String.fromCharCode(byte);
  return bytes;
}
const UTF8 = new TextEncoder();
