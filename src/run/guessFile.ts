/*
 * A table of guesses as a file: what usually came next in text that the model generated itself.
 *
 * Little-endian: "L2GUESS1", the vocabulary's size, the sha256 of the tokenizer, the tokens of the longest context, the
 * number of entries; then for each entry the 64-bit hash of its context (guessTable.ts), its token, and how often it was
 * seen, sorted by hash.
 */
import { Llama2Error } from "../errors.ts";
import { bytesText } from "../files/bytes.ts";

/** Integers of an entry, in the file and in the table: hash low, hash high, token, times. */
export const ENTRY = 4;
const MAGIC = "L2GUESS1";
export const HEAD_BYTES = 8 + 4 + 32 + 4 + 4;
const ENTRY_BYTES = 4 * ENTRY;
export const MAX_GUESS_BYTES = 64 * 1024 * 1024;
/** The longest context that can be chosen, in tokens: each costs a look-up, and beyond eight they gain little. */
export const MAX_LONGEST = 16;

/** A table of guesses, as the model's thread receives it. */
export interface GuessEntries {
  longest: number; // tokens of the longest context
  entries: Int32Array; // (entries, 4)
}

/** The model that a table of guesses belongs to. */
export interface GuessOwner {
  vocabSize: number;
  tokenizer?: string; // its sha256, in lower-case hex. Absent: the model has none
}

/**
 * Parse a file of guesses, for the model `owner`. A model without a tokenizer accepts the table of any tokenizer.
 * @param name of the file, for messages
 * @throws Llama2Error E_FORMAT if the file is broken, or belongs to another model
 */
export function parseGuesses(bytes: Uint8Array, name: string, owner: GuessOwner): GuessEntries {
  checkGuessSize(bytes.length, name);
  const head = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = String.fromCharCode(...bytes.subarray(0, MAGIC.length));
  if (magic !== MAGIC) refuse(name, `it does not begin with ${MAGIC}`);
  if (bytes.length < HEAD_BYTES) refuse(name, `its header has ${HEAD_BYTES} bytes, the file ${bytes.length}`);
  const vocabSize = head.getUint32(8, true);
  const longest = head.getUint32(44, true);
  const count = head.getUint32(48, true);
  const expected = HEAD_BYTES + count * ENTRY_BYTES;
  if (bytes.length !== expected) {
    refuse(name, `with ${count} entries it would have ${bytesText(expected)}, and it has ${bytesText(bytes.length)}`);
  }
  if (longest < 1 || longest > MAX_LONGEST) {
    refuse(name, `its longest context has ${longest} tokens, expected 1 to ${MAX_LONGEST}`);
  }
  if (vocabSize !== owner.vocabSize) {
    refuse(name, `it is for a vocabulary of ${vocabSize}, and the model's has ${owner.vocabSize}`);
  }
  const tokenizer = hexOf(bytes.subarray(12, 44));
  if (tokenizer !== (owner.tokenizer ?? tokenizer)) {
    refuse(name, `it is for another tokenizer: the sha256 of its own is ${tokenizer}, here ${owner.tokenizer}`);
  }
  // copied: a Buffer may be part of a larger one
  const entries = new Int32Array(new Uint8Array(bytes.subarray(HEAD_BYTES)).buffer);
  checkEntries(entries, vocabSize, name);
  return { longest, entries };
}

/** @throws Llama2Error E_FORMAT if a file of this size is too large for a table of guesses */
export function checkGuessSize(bytes: number, name: string): void {
  if (bytes > MAX_GUESS_BYTES) {
    refuse(name, `it has ${bytesText(bytes)}, and such tables have at most ${bytesText(MAX_GUESS_BYTES)}`);
  }
}

/** The bytes of a file with these guesses. Entries may come in any order; the file has them sorted. */
export function guessFileOf(
  { longest, entries }: GuessEntries,
  { vocabSize, tokenizer = "0".repeat(64) }: GuessOwner,
): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES + 4 * entries.length);
  const head = new DataView(bytes.buffer);
  for (let i = 0; i < MAGIC.length; i++) bytes[i] = MAGIC.charCodeAt(i);
  head.setUint32(8, vocabSize, true);
  for (let i = 0; i < 32; i++) bytes[12 + i] = Number.parseInt(tokenizer.slice(2 * i, 2 * i + 2), 16);
  head.setUint32(44, longest, true);
  head.setUint32(48, entries.length / ENTRY, true);
  const sorted = new Int32Array(bytes.buffer, HEAD_BYTES);
  const order = Array.from({ length: entries.length / ENTRY }, (_, i) => ENTRY * i);
  order.sort((a, b) => compare(entries, a, entries, b));
  for (const [i, at] of order.entries()) sorted.set(entries.subarray(at, at + ENTRY), ENTRY * i);
  return bytes;
}

function checkEntries(entries: Int32Array, vocabSize: number, name: string): void {
  for (let at = 0; at < entries.length; at += ENTRY) {
    const token = entries[at + 2] >>> 0;
    const times = entries[at + 3];
    const isSorted = at === 0 || compare(entries, at - ENTRY, entries, at) < 0;
    if (isSorted && token < vocabSize && times > 0) continue;
    const where = `at byte ${HEAD_BYTES + 4 * at}`;
    if (!isSorted) refuse(name, `${where} it is not sorted by hash`);
    if (times <= 0) refuse(name, `${where} is an entry that was seen ${times >>> 0} times`);
    refuse(name, `${where} is token ${token}, out of the range of ${vocabSize} tokens`);
  }
}

/** Negative if the hash of the entry at a[i] is smaller than that of the one at b[j], 0 if they are equal. */
const compare = (a: Int32Array, i: number, b: Int32Array, j: number): number =>
  (a[i + 1] >>> 0) - (b[j + 1] >>> 0) || (a[i] >>> 0) - (b[j] >>> 0);

const hexOf = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

function refuse(name: string, why: string): never {
  throw new Llama2Error("E_FORMAT", `${name} is not a table of guesses for this model: ${why}`);
}
