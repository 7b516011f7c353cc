/*
 * Reads a tokenizer of any kind from the bytes of its file, and fits it to a model.
 */
import type { PreparingTokenizer } from "../../encode.ts";
import { Llama2Error } from "../../errors.ts";
import { type ByteSource, bytesText, type Files, readBytes } from "../../files/bytes.ts";
import { parseHeader } from "../llama2c/header.ts";
import { locateTensors } from "../llama2c/tensors.ts";
import { HEAD_BYTES, otherFile } from "../otherFiles.ts";
import { checkVocabSize, padded, parseTokenizer } from "./bin.ts";

/** A tokenizer and where it was found. */
export interface FoundTokenizer {
  path: string;
  tokenizer: PreparingTokenizer;
  kind: "bin" | "sentencepiece" | "json" | "gguf";
  /** How many tokens it has. The model may have a few more: see `note`. */
  pieces: number;
  /** A note for the user. */
  note?: string;
}

/** A tokenizer, and the kind of its file. */
export interface ReadTokenizer {
  tokenizer: PreparingTokenizer;
  kind: FoundTokenizer["kind"];
}

/** 16 MiB: Llama 3's tokenizer.json has 9 MB, llama2.c's largest tokenizer.bin 6. */
const MAX_BYTES = 1 << 24;

/** @throws Llama2Error E_FORMAT if a file of this size cannot be a tokenizer */
export function checkTokenizerSize(size: number, path: string): void {
  if (size <= MAX_BYTES) return;
  throw new Llama2Error(
    "E_FORMAT",
    `${path} is not a tokenizer: it has ${bytesText(size)}, and tokenizers have at most ${bytesText(MAX_BYTES)}`,
  );
}

/**
 * The tokenizer in the bytes of the file `path`: llama2.c's tokenizer.bin, sentencepiece's tokenizer.model or Hugging
 * Face's tokenizer.json, recognised by its first bytes.
 * @throws Llama2Error E_FORMAT
 */
export async function parseAnyTokenizer(bytes: Uint8Array, path: string): Promise<ReadTokenizer> {
  const start = String.fromCharCode(...bytes.subarray(0, 64));
  if (/^[A-Za-z0-9+/]+=* \d+\n/.test(start)) {
    throw new Llama2Error("E_FORMAT", `${path} is a tokenizer of Llama 3 (tiktoken), which is not supported`);
  }
  // code for these is loaded only when it is needed: every file delays the start by about a millisecond
  if (/^\s*\{/.test(start)) {
    const { parseTokenizerJson } = await import("./tokenizerJson.ts");
    return { tokenizer: parseTokenizerJson(bytes, path), kind: "json" };
  }
  // a sentencepiece model begins with field 1, a piece, which is not empty
  if (bytes[0] === 0x0a && bytes[1] !== 0) {
    const { parseSentencePiece } = await import("./sentencepiece.ts");
    return { tokenizer: parseSentencePiece(bytes, path), kind: "sentencepiece" };
  }
  try {
    return { tokenizer: parseTokenizer(bytes, path), kind: "bin" };
  } catch (error) {
    const other = otherFile(bytes) ?? checkpointLike(bytes);
    throw other ? new Llama2Error("E_FORMAT", `${path} is not a tokenizer: ${other}`) : error;
  }
}

/** Whether a file is one of llama2.c's checkpoints: by its magic number, or by its size, which follows from its header. */
function checkpointLike(bytes: Uint8Array): string | undefined {
  const what = "it is a checkpoint of llama2.c, which is a model";
  if (String.fromCharCode(...bytes.subarray(0, 4)) === "24ka") return what;
  try {
    const { fileBytes } = locateTensors(parseHeader(bytes.subarray(0, HEAD_BYTES), ""), "");
    return fileBytes === BigInt(bytes.length) ? what : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The tokenizer within a GGUF file. Undefined if it is another file, or has none.
 * @throws Llama2Error E_FORMAT
 */
export async function tokenizerInside(file: ByteSource): Promise<ReadTokenizer | undefined> {
  const magic = await readBytes(file, 0, Math.min(4, file.size));
  if (String.fromCharCode(...magic) !== "GGUF") return undefined;
  const [{ openGguf }, { ggufTokenizer }] = await Promise.all([import("../gguf.ts"), import("./ggufTokenizer.ts")]);
  const tokenizer = ggufTokenizer((await openGguf(file)).values, file.name);
  return tokenizer && { tokenizer, kind: "gguf" };
}

/** The names of a tokenizer in a model's folder, in the order in which they are tried. */
export const FOLDER_TOKENIZERS = ["tokenizer.model", "tokenizer.json", "tokenizer.bin"];

/**
 * The tokenizer of a model whose files are not in the file system: the one `inside` it, or the one in its folder.
 * Undefined if there is none, or its folder cannot be listed.
 * @throws Llama2Error E_FORMAT if it does not fit, E_NET
 */
export async function tokenizerOfFiles(
  files: Files,
  inside: PreparingTokenizer | undefined,
  vocabSize: number,
): Promise<FoundTokenizer | undefined> {
  if (inside) return fitted(files.name, { tokenizer: inside, kind: "gguf" }, vocabSize);
  const folder = files.folder ?? files;
  const names = await folder.list();
  const others = names.filter((name) => /^tok.*\.bin$/.test(name));
  const name = FOLDER_TOKENIZERS.find((name) => names.includes(name)) ?? (others.length === 1 ? others[0] : undefined);
  if (name === undefined) return undefined;
  const file = await folder.open(name);
  try {
    checkTokenizerSize(file.size, file.name);
    return fitted(file.name, await parseAnyTokenizer(await readBytes(file, 0, file.size), file.name), vocabSize);
  } finally {
    file.close();
  }
}

/** A tokenizer for a model with this vocabulary size, which may have a few more rows. */
export function fitted(path: string, { tokenizer, kind }: ReadTokenizer, vocabSize: number): FoundTokenizer {
  checkVocabSize(tokenizer, path, vocabSize);
  const pieces = tokenizer.vocabSize;
  const missing = vocabSize - pieces;
  const note = `the last ${missing} of the model's ${vocabSize} tokens have no text: ${path} has ${pieces}`;
  return { path, tokenizer: padded(tokenizer, vocabSize), kind, pieces, note: missing === 0 ? undefined : note };
}
