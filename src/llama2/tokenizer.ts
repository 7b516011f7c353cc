/*
 * The byte pair encoding (BPE) tokenizer: text to tokens and back. run.c's second part (365), in its order and words.
 *
 * A model does not read letters. Its vocabulary is a list of pieces, from single bytes to whole words, each with
 * a score; a token is an index into that list. Text is split into code points, and then the neighbours whose joint
 * piece has the best score are merged, again and again, until no two neighbours make a piece.
 *
 * A C string is a sequence of bytes, and so is every string here: one character per byte, U+0000 to U+00FF.
 */
import { f32 } from "./math.ts";

/** Unknown: stands for a byte that has no piece in the vocabulary. */
export const UNK = 0;
/** Beginning of sequence: comes before every text, and so separates a story from the next one. */
export const BOS = 1;
/** End of sequence: ends every answer in a chat. */
export const EOS = 2;
/** The token of byte 0; those of the other bytes follow. The first three are UNK, BOS and EOS. */
export const FIRST_BYTE = 3;

/** run.c 372. */
export interface Tokenizer {
  vocab: string[]; // (vocabSize) the pieces, as byte strings
  vocabScores: Float32Array; // (vocabSize)
  sortedVocab: Map<string, number>; // piece -> token, in place of run.c's sorted list
  vocabSize: number;
  maxTokenLength: number; // bytes of the longest piece: the most bytes of text that a token stands for
}

/**
 * run.c 385: build_tokenizer. `bytes` are a tokenizer.bin: the length of the longest piece, then for each token a score,
 * a length and its bytes. The number of tokens is not in the file, but in the model's config.
 */
export function buildTokenizer(bytes: Uint8Array, vocabSize: number): Tokenizer {
  const file = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const string = byteString(bytes);
  const vocab: string[] = [];
  const vocabScores = new Float32Array(vocabSize);
  let at = 4; // skip the longest piece's length, which is wrong in some files; it is found below
  for (let i = 0; i < vocabSize; i++) {
    vocabScores[i] = file.getFloat32(at, true);
    const len = file.getInt32(at + 4, true);
    vocab.push(string.slice(at + 8, at + 8 + len));
    at += 8 + len;
  }
  return tokenizerOf(vocab, vocabScores);
}

/** Bytes as a byte string. In portions, since a call takes a limited number of arguments. */
export function byteString(bytes: Uint8Array): string {
  let string = "";
  for (let i = 0; i < bytes.length; i += 4096) {
    string += Reflect.apply(String.fromCharCode, null, bytes.subarray(i, i + 4096)); // much faster than `...`
  }
  return string;
}

/** A tokenizer with the pieces `vocab` and their scores. If pieces are equal, the lowest token is found. */
export function tokenizerOf(vocab: string[], vocabScores: Float32Array): Tokenizer {
  const vocabSize = vocab.length;
  const sortedVocab = new Map<string, number>();
  for (let i = vocabSize - 1; i >= 0; i--) sortedVocab.set(vocab[i], i);
  if (hasCharacterBytes(vocab)) settleBytes(sortedVocab, vocab);
  // a token may stand for a byte whatever the pieces are
  const maxTokenLength = vocab.reduce((longest, piece) => Math.max(longest, piece.length), 1);
  return { vocab, vocabScores, sortedVocab, vocabSize, maxTokenLength };
}

/** The character U+00bb of a byte bb, in UTF-8. */
const characterOf = (byte: number): string =>
  byte < 0x80 ? String.fromCharCode(byte) : String.fromCharCode(0xc0 | (byte >> 6), 0x80 | (byte & 0x3f));

/** Whether all bytes are written as characters, as in files that llama2.c wrote in July and August 2023. */
function hasCharacterBytes(vocab: string[]): boolean {
  for (let byte = 0; byte < 256; byte++) {
    if (vocab[FIRST_BYTE + byte] !== characterOf(byte)) return false;
  }
  return true;
}

/**
 * In such a file most characters below U+0100 occur twice: as a byte and as a piece. In ASCII both mean the same, so take
 * the one that run.c's bsearch happens to find. Above ASCII they differ: the byte 0xe9 alone is not an é.
 */
function settleBytes(sortedVocab: Map<string, number>, vocab: string[]): void {
  const sorted = vocab.map((_, i) => i).sort((a, b) => compare(vocab[a], vocab[b]) || a - b);
  for (let byte = 0; byte < 256; byte++) {
    const character = characterOf(byte);
    const piece = vocab.indexOf(character, FIRST_BYTE + 256);
    if (byte < 0x80) sortedVocab.set(character, bsearch(character, vocab, sorted));
    else if (piece === -1) sortedVocab.delete(character);
    else sortedVocab.set(character, piece);
  }
}

/** C's strcmp. */
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** C's bsearch, as in glibc: the token of `piece`, which must exist. `sorted`: the tokens, sorted by their pieces. */
function bsearch(piece: string, vocab: string[], sorted: number[]): number {
  let [low, high] = [0, sorted.length];
  for (;;) {
    const middle = (low + high) >> 1;
    const order = compare(piece, vocab[sorted[middle]]);
    if (order === 0) return sorted[middle];
    if (order < 0) high = middle;
    else low = middle + 1;
  }
}

/** run.c 418: decode. The bytes that `token` stands for after `prevToken` (-1: after nothing). */
export function decode(t: Tokenizer, prevToken: number, token: number): string {
  let piece = t.vocab[token];
  // encode() puts a space before every text, so the first piece of one gives it back (see PR #89 of llama2.c)
  if (prevToken === BOS && piece.startsWith(" ")) {
    piece = piece.slice(1);
  }
  // careful, some tokens designate raw bytes, and look like e.g. '<0x01>'. This is how C's sscanf parses "<0x%02hhX>"
  const rawByte = /^<0x[ \t-\r]*([+-][0-9A-Fa-f]|[0-9A-Fa-f]{1,2})/.exec(piece);
  if (rawByte) return String.fromCharCode(Number.parseInt(rawByte[1], 16) & 0xff);
  // or, in files of summer 2023, like the character of the byte, which run.c prints
  const byte = token - FIRST_BYTE;
  return byte >= 0x80 && byte < 0x100 && piece === characterOf(byte) ? String.fromCharCode(byte) : piece;
}

/**
 * run.c 431: safe_printf. What run.c prints for a piece: nothing if it is a single byte that is neither printable nor
 * white space. So a character made of several byte tokens, like most emoji, is not printed. That is why only `--compat`
 * uses this.
 */
export function safePrintf(piece: string): string {
  const [cString] = piece.split("\0", 1);
  return cString.length === 1 && !/[\x20-\x7e\t-\r]/.test(cString) ? "" : cString;
}

/** run.c 445: str_lookup. The token whose piece is exactly `str`, or -1. */
export function strLookup(t: Tokenizer, str: string): number {
  return t.sortedVocab.get(str) ?? -1;
}

/**
 * run.c 452: encode. `text` is UTF-8, as a byte string; `bos` and `eos` add those tokens around it. src/encode.ts passes
 * another `merge`, which gives the same tokens but is faster for long texts.
 */
export function encode(t: Tokenizer, text: string, bos: boolean, eos: boolean, merge = mergePairs): number[] {
  const tokens: number[] = [];

  // add optional BOS (=1) token, if desired
  if (bos) tokens.push(BOS);

  // add_dummy_prefix is true by default, so prepend a space, but only if text != ""
  if (text !== "") {
    tokens.push(Math.max(strLookup(t, " "), UNK));
  }

  for (let start = 0, end: number; start < text.length; start = end) {
    // a code point is a byte and the continuation bytes (10xxxxxx) after it, but no more than four in all
    end = start + 1;
    while (end < start + 4 && (text.charCodeAt(end) & 0xc0) === 0x80) {
      end++;
    }
    const codePoint = text.slice(start, end);
    const id = strLookup(t, codePoint);
    if (id !== -1) {
      // we found this code point in vocab, add it as a token
      tokens.push(id);
    } else {
      // byte_fallback encoding: just encode each byte as a token
      for (let i = 0; i < codePoint.length; i++) {
        tokens.push(byteToken(t, codePoint.charCodeAt(i)));
      }
    }
  }

  const merged = merge(t, tokens);
  // add optional EOS (=2) token, if desired
  if (eos) merged.push(EOS);
  return merged;
}

/**
 * The token of a raw byte: byte + 3, after UNK, BOS and EOS. run.c does not check; here the token is UNK if that piece
 * is not the byte. Bytes are written <0x41>, or in files of summer 2023 as the character U+0041.
 */
function byteToken(t: Tokenizer, byte: number): number {
  const piece = t.vocab[FIRST_BYTE + byte];
  const hex = byte.toString(16).padStart(2, "0");
  const isByte = piece?.toLowerCase() === `<0x${hex}>` || piece === characterOf(byte);
  return isByte ? FIRST_BYTE + byte : UNK;
}

/** run.c's initial best_score: pieces that do not score better are never merged. */
export const WORST_SCORE = f32(-1e10);

/** run.c 537, in encode: merge the best consecutive pair each iteration, according to the scores in vocabScores. */
function mergePairs(t: Tokenizer, tokens: number[]): number[] {
  for (;;) {
    let bestScore = WORST_SCORE;
    let bestId = -1;
    let bestIdx = -1;

    for (let i = 0; i < tokens.length - 1; i++) {
      // check if we can merge the pair (tokens[i], tokens[i+1])
      const id = strLookup(t, t.vocab[tokens[i]] + t.vocab[tokens[i + 1]]);
      if (id !== -1 && t.vocabScores[id] > bestScore) {
        // this merge pair exists in vocab! record its score and position
        bestScore = t.vocabScores[id];
        bestId = id;
        bestIdx = i;
      }
    }

    if (bestIdx === -1) {
      return tokens; // we couldn't find any more pairs to merge, so we're done
    }

    // merge the consecutive pair (bestIdx, bestIdx+1) into the new token bestId
    tokens.splice(bestIdx, 2, bestId);
  }
}
