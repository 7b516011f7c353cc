/*
 * Reads text from files and from standard input.
 *
 * Text is UTF-8. A byte order mark, which some editors write, is dropped. UTF-16 and UTF-32, which some shells write,
 * are refused by name, because a model would read them as nonsense. Other bytes that are not UTF-8 are kept: the
 * tokenizer has a piece for every byte.
 */
import { Llama2Error } from "../errors.ts";
import { bytesText } from "./bytes.ts";
import { InputFile } from "./inputFile.ts";

/** 16 MiB: more than any model reads at once, and small enough to be encoded without a wait. */
export const MAX_TEXT_BYTES = 1 << 24;

/**
 * `bytes` without the UTF-8 byte order mark in front, if there is one.
 * @param name of the file, for the message
 * @throws Llama2Error E_FORMAT for UTF-16 and UTF-32
 */
export function withoutMark(bytes: Uint8Array, name: string): Uint8Array {
  const encoding = wideEncoding(bytes);
  if (encoding) throw new Llama2Error("E_FORMAT", `${name} is ${encoding} text, expected UTF-8`);
  return startsWith(bytes, [0xef, 0xbb, 0xbf]) ? bytes.subarray(3) : bytes;
}

/** The same without one final newline, `\n` or `\r\n`, which editors and shells add to a prompt. */
export function promptText(bytes: Uint8Array, name: string): Uint8Array {
  const text = withoutMark(bytes, name);
  if (text.at(-1) !== 0x0a) return text;
  return text.subarray(0, text.at(-2) === 0x0d ? -2 : -1);
}

/**
 * A file's text, without a byte order mark.
 * @throws Llama2Error E_FILE, E_FORMAT for UTF-16 and UTF-32 and for anything but a file, E_LIMIT above `maxBytes`
 */
export function readText(path: string, maxBytes: number): Uint8Array {
  const file = new InputFile(path);
  try {
    if (file.size > maxBytes) {
      throw new Llama2Error("E_LIMIT", `${path} has ${bytesText(file.size)}, expected at most ${bytesText(maxBytes)}`);
    }
    const bytes = new Uint8Array(file.size);
    file.read(bytes, 0);
    return withoutMark(bytes, path);
  } finally {
    file.close();
  }
}

/**
 * The documents of a text, separated by lines `<|end|>`. Windows' line ends count as `\n`; spaces after `<|end|>` are
 * ignored. The text's final newline belongs to no document, and empty documents are left out.
 * @param text a string, or a byte string
 */
export function splitDocuments(text: string): string[] {
  const documents = text
    .replaceAll("\r\n", "\n")
    .replace(/\n$/, "")
    .split(/(?<![^\n])<\|end\|>[ \t]*(?![^\n])/)
    .map((document) => document.replace(/^\n/, "").replace(/\n$/, ""));
  return documents.filter((document) => document !== "");
}

/** The name of the encoding if `bytes` are UTF-16 or UTF-32, by the mark in front or by where the zeros are. */
function wideEncoding(bytes: Uint8Array): string | undefined {
  if (startsWith(bytes, [0xff, 0xfe, 0, 0]) || startsWith(bytes, [0, 0, 0xfe, 0xff])) return "UTF-32";
  if (startsWith(bytes, [0xff, 0xfe]) || startsWith(bytes, [0xfe, 0xff])) return "UTF-16";
  if (bytes.length < 8) return undefined; // too short to tell
  const sample = bytes.subarray(0, 4096 & ~3);
  const zeros = [0, 0, 0, 0]; // by position modulo 4
  for (let i = 0; i < sample.length; i++) if (sample[i] === 0) zeros[i & 3]++;
  // in most alphabets the upper bytes of neighbouring characters are equal; in ASCII they are zero
  const pattern = zeros.map((count) => (count > sample.length * 0.2 ? "0" : count < sample.length * 0.05 ? "x" : "?"));
  return ENCODINGS[pattern.join("")];
}

const ENCODINGS: Record<string, string | undefined> = {
  x0x0: "UTF-16",
  "0x0x": "UTF-16",
  x000: "UTF-32",
  "000x": "UTF-32",
};

function startsWith(bytes: Uint8Array, start: number[]): boolean {
  return start.every((byte, i) => bytes[i] === byte);
}
