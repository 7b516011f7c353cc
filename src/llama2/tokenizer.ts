/*
 * The byte pair encoding (BPE) tokenizer: text to tokens and back. run.c's second part (365), in its order and
 * its words, but for the merge loop, which takes time n log n here and n^2 there, for the same tokens.
 *
 * A model does not read letters. Its vocabulary is a list of pieces, from single bytes to whole words, each with
 * a score; a token is an index into that list. Text is cut into code points, and then the neighbours whose joint
 * piece has the best score are joined, again and again, until no two neighbours make a piece.
 *
 * A C string is a row of bytes, and so is every string here: one character per byte, U+0000 to U+00FF.
 */
import { f32 } from "./math.ts";

/** What cannot be written: the piece of a byte that the vocabulary lacks. */
export const UNK = 0;
/** Begin of sequence: stands before every text, and ends every story. */
export const BOS = 1;
/** End of sequence: ends every turn of a chat. */
export const EOS = 2;
/** The token of byte 0; those of the other bytes follow. The first three are UNK, BOS and EOS. */
const FIRST_BYTE = 3;

/** run.c 372. */
export interface Tokenizer {
  vocab: string[]; // (vocabSize) the pieces, as byte strings
  vocabScores: Float32Array; // (vocabSize)
  sortedVocab: Map<string, number>; // piece -> token, run.c's sorted list
  vocabSize: number;
  maxTokenLength: number; // bytes of the longest piece, and so the most bytes of text that a token stands for
}

/** run.c 385: build_tokenizer, from pieces that have been read. Of equal pieces the lowest token is found. */
export function buildTokenizer(vocab: string[], vocabScores: Float32Array): Tokenizer {
  const sortedVocab = new Map<string, number>();
  let maxTokenLength = 1; // a token may stand for a byte whatever the pieces are
  for (let i = vocab.length - 1; i >= 0; i--) {
    sortedVocab.set(vocab[i], i);
    maxTokenLength = Math.max(maxTokenLength, vocab[i].length);
  }
  return { vocab, vocabScores, sortedVocab, vocabSize: vocab.length, maxTokenLength };
}

/** run.c 418: decode. The bytes that `token` stands for after `prevToken` (-1: after nothing). */
export function decode(t: Tokenizer, prevToken: number, token: number): string {
  let piece = t.vocab[token];
  // encode() puts a space before every text, so the first piece of one gives it back (see PR #89 of llama2.c)
  if (prevToken === BOS && piece.startsWith(" ")) {
    piece = piece.slice(1);
  }
  // careful, some tokens designate raw bytes, and look like e.g. '<0x01>'
  const rawByte = /^<0x([0-9A-Fa-f]{1,2})/.exec(piece);
  return rawByte ? String.fromCharCode(Number.parseInt(rawByte[1], 16)) : piece;
}

/**
 * run.c 431: safe_printf. What run.c prints of a piece: nothing if it is a single byte that is neither printable
 * nor white space. A character made of several byte tokens, like most emoji, vanishes that way, so this serves
 * `--compat` only.
 */
export function safePrintf(piece: string): string {
  const [cString] = piece.split("\0", 1);
  return cString.length === 1 && !/[\x20-\x7e\t-\r]/.test(cString) ? "" : cString;
}

/** run.c 445: str_lookup. The token whose piece is exactly `str`, or -1. */
export function strLookup(t: Tokenizer, str: string): number {
  return t.sortedVocab.get(str) ?? -1;
}

/** run.c 452: encode. `text` is UTF-8, as a byte string; `bos` and `eos` ask for those tokens around it. */
export function encode(t: Tokenizer, text: string, bos: boolean, eos: boolean): number[] {
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

  const merged = mergePairs(t, tokens);
  // add optional EOS (=2) token, if desired
  if (eos) merged.push(EOS);
  return merged;
}

/** The token of a raw byte, or UNK in a vocabulary without byte pieces. */
function byteToken(t: Tokenizer, byte: number): number {
  const token = FIRST_BYTE + byte;
  return t.vocab[token]?.startsWith("<0x") ? token : UNK;
}

/**
 * The merge loop of encode (run.c 537): join the neighbours whose joint piece has the best score, the leftmost
 * ones on a tie, until no neighbours make a piece.
 *
 * run.c looks at all pairs for every merge. A merge changes only the pairs beside it, so keep the candidates in
 * a heap, best first, and the tokens in a linked list. A candidate is stale, and is passed over, once one of
 * its two tokens has become part of a longer one: its piece is then shorter than the two are together.
 */
function mergePairs(t: Tokenizer, tokens: number[]): number[] {
  const next = tokens.map((_, i) => i + 1); // the index of the token to the right
  const prev = tokens.map((_, i) => i - 1); // and to the left
  const length = (i: number) => t.vocab[tokens[i]].length;
  const heap = new Candidates(t.vocabScores);

  const consider = (left: number) => {
    const right = next[left];
    if (left < 0 || right >= tokens.length) return;
    const id = strLookup(t, t.vocab[tokens[left]] + t.vocab[tokens[right]]);
    if (id !== -1 && t.vocabScores[id] > WORST_SCORE) heap.push(left, id);
  };

  for (let i = 0; i + 1 < tokens.length; i++) consider(i);
  for (let best = heap.pop(); best; best = heap.pop()) {
    const { left, id } = best;
    const right = next[left];
    if (tokens[left] === GONE || right >= tokens.length) continue;
    if (length(left) + length(right) !== t.vocab[id].length) continue;
    // merge the pair into the new token id, and take the right one out of the list
    tokens[left] = id;
    tokens[right] = GONE;
    next[left] = next[right];
    if (next[right] < tokens.length) prev[next[right]] = left;
    consider(prev[left]);
    consider(left);
  }
  return tokens.filter((token) => token !== GONE);
}

/** A token that has been merged into its left neighbour. */
const GONE = -1;
/** run.c's initial best_score: pieces that score no better are never made. */
const WORST_SCORE = f32(-1e10);

/** A binary heap of candidate merges: the best score on top, of equal ones the leftmost. */
class Candidates {
  private readonly scores: Float32Array;
  private readonly lefts: number[] = [];
  private readonly ids: number[] = [];

  constructor(scores: Float32Array) {
    this.scores = scores;
  }

  push(left: number, id: number): void {
    let i = this.lefts.push(left) - 1;
    this.ids.push(id);
    for (let parent = (i - 1) >> 1; i > 0 && this.better(i, parent); parent = (i - 1) >> 1) {
      this.swap(i, parent);
      i = parent;
    }
  }

  pop(): { left: number; id: number } | undefined {
    const last = this.lefts.length - 1;
    if (last < 0) return undefined;
    this.swap(0, last);
    const left = this.lefts.pop() as number;
    const id = this.ids.pop() as number;
    for (let i = 0; ; ) {
      let best = i;
      for (const child of [2 * i + 1, 2 * i + 2]) {
        if (child < last && this.better(child, best)) best = child;
      }
      if (best === i) return { left, id };
      this.swap(i, best);
      i = best;
    }
  }

  private better(i: number, j: number): boolean {
    const a = this.scores[this.ids[i]];
    const b = this.scores[this.ids[j]];
    return a > b || (a === b && this.lefts[i] < this.lefts[j]);
  }

  private swap(i: number, j: number): void {
    [this.lefts[i], this.lefts[j]] = [this.lefts[j], this.lefts[i]];
    [this.ids[i], this.ids[j]] = [this.ids[j], this.ids[i]];
  }
}
