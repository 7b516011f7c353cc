/*
 * sentencepiece's precompiled rules that normalize text to the letters of a vocabulary, for example "ﬁ" to "fi".
 *
 * They are a trie in a double array (Darts), and the replacement texts of its leaves, each with a NUL at its end.
 */
import type { Llama2Error } from "../../errors.ts";

/** sentencepiece's own rules have keys of up to 12 bytes, and write up to 33. */
const MAX_KEY = 256;
const MAX_TEXT = 256;

/**
 * A function that normalizes a byte string. At each position the longest rule applies.
 * @throws Llama2Error E_FORMAT
 */
export function compileCharsMap(bytes: Uint8Array, refuse: (why: string) => Llama2Error): (text: string) => string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const trieBytes = bytes.length < 4 ? 0 : view.getUint32(0, true);
  if (trieBytes < 4 || trieBytes % 4 !== 0 || trieBytes > bytes.length - 4) {
    throw refuse("its rules of normalization are cut short");
  }
  const units = Uint32Array.from({ length: trieBytes / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  let texts = "";
  for (let i = 4 + trieBytes, start = i; i < bytes.length; i++) {
    texts += String.fromCharCode(bytes[i]);
    if (bytes[i] === 0) start = i + 1;
    // otherwise a short text could become one of any length
    else if (i - start >= MAX_TEXT) throw refuse(`a rule of normalization writes more than ${MAX_TEXT} bytes`);
  }
  if (!texts.endsWith("\0")) throw refuse("its rules of normalization have no end");

  return (text) => {
    let result = "";
    for (let at = 0; at < text.length; ) {
      const found = longestMatch(units, text, at);
      if (found && found.value < texts.length) {
        result += texts.slice(found.value, texts.indexOf("\0", found.value));
        at += found.length;
      } else {
        result += text[at];
        at++;
      }
    }
    return result;
  };
}

/** The longest key of the trie that `text` has at position `at`. */
function longestMatch(units: Uint32Array, text: string, at: number): { length: number; value: number } | undefined {
  let found: { length: number; value: number } | undefined;
  let node = offsetOf(units[0]);
  for (let i = at; i < text.length && i < at + MAX_KEY; i++) {
    const label = text.charCodeAt(i);
    node ^= label;
    if (node >= units.length || (units[node] & 0x800000ff) >>> 0 !== label) break;
    const hasLeaf = ((units[node] >>> 8) & 1) === 1;
    node ^= offsetOf(units[node]);
    if (hasLeaf && node < units.length) found = { length: i + 1 - at, value: units[node] & 0x7fffffff };
  }
  return found;
}

/** How far from a node its children are. */
const offsetOf = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);
