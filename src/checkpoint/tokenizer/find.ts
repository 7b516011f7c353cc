/*
 * The tokenizer that belongs to a model, found in Node's file system.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { PreparingTokenizer } from "../../encode.ts";
import { Llama2Error } from "../../errors.ts";
import { bytesText } from "../../files/bytes.ts";
import { fileAt } from "../../files/disk.ts";
import { InputFile } from "../../files/inputFile.ts";
import { packagePath } from "../../files/packageFolder.ts";
import { checkVocabSize, fitsPadded, padded, parseTokenizer } from "./bin.ts";

/** The folder of the bundled model, its tokenizer and its card. */
export const PACKAGE_MODELS = packagePath("models");

/** 16 MiB: Llama 3's tokenizer.json has 9 MB, llama2.c's largest tokenizer.bin 6. */
const MAX_BYTES = 1 << 24;

/** The kinds of tokenizer files, by their endings, in the order in which they are looked for. */
const ENDINGS = [".bin", ".model", ".json"];

/**
 * Read a tokenizer.bin of llama2.c.
 * @throws Llama2Error E_FILE, E_FORMAT
 */
export function readTokenizer(path: string): PreparingTokenizer {
  return parseTokenizer(readBytes(path), path);
}

/**
 * Read a tokenizer file: llama2.c's tokenizer.bin, sentencepiece's tokenizer.model or Hugging Face's tokenizer.json.
 * Which it is, is said by its first bytes.
 * @throws Llama2Error E_FILE, E_FORMAT
 */
export const readAnyTokenizer = async (path: string): Promise<PreparingTokenizer> => (await readAny(path)).tokenizer;

async function readAny(path: string): Promise<ReadTokenizer> {
  const bytes = readBytes(path);
  const start = String.fromCharCode(...bytes.subarray(0, 64));
  if (/^[A-Za-z0-9+/]+=* \d+\n/.test(start)) {
    throw new Llama2Error("E_FORMAT", `${path} is a tokenizer of Llama 3 (tiktoken), which is not supported`);
  }
  // what reads these is loaded when it is needed, since every file costs the start of a story about a millisecond
  if (/^\s*\{/.test(start)) {
    const { parseTokenizerJson } = await import("./tokenizerJson.ts");
    return { tokenizer: parseTokenizerJson(bytes, path), kind: "json" };
  }
  // a sentencepiece model begins with field 1, a piece, which is not empty
  if (bytes[0] === 0x0a && bytes[1] !== 0) {
    const { parseSentencePiece } = await import("./sentencepiece.ts");
    return { tokenizer: parseSentencePiece(bytes, path), kind: "sentencepiece" };
  }
  return { tokenizer: parseTokenizer(bytes, path), kind: "bin" };
}

function readBytes(path: string): Uint8Array {
  const file = new InputFile(path);
  try {
    if (file.size > MAX_BYTES) {
      throw new Llama2Error(
        "E_FORMAT",
        `${path} is no tokenizer: it has ${bytesText(file.size)}, and tokenizers have at most ${bytesText(MAX_BYTES)}`,
      );
    }
    const bytes = new Uint8Array(file.size);
    file.read(bytes, 0);
    return bytes;
  } finally {
    file.close();
  }
}

/** A tokenizer and where it was found. */
export interface FoundTokenizer {
  path: string;
  tokenizer: PreparingTokenizer;
  kind: "bin" | "sentencepiece" | "json" | "gguf";
  /** How many tokens it has. The model may have some more: see `note`. */
  pieces: number;
  /** What deserves to be told. */
  note?: string;
}

/** One that was read. */
interface ReadTokenizer {
  tokenizer: PreparingTokenizer;
  kind: FoundTokenizer["kind"];
}

/**
 * The tokenizer at `path` for a model of this vocabulary.
 * @throws Llama2Error E_FILE, E_FORMAT
 */
export async function namedTokenizer(path: string, vocabSize: number): Promise<FoundTokenizer> {
  return fitted(path, await readAny(path), vocabSize);
}

/**
 * Find the tokenizer of the model at `modelPath`, whose vocabulary has `vocabSize` tokens. First the one inside it, or
 * tokenizer.model, tokenizer.json or tokenizer.bin in its folder if it is one. Then, where `.bin` may also be `.model`
 * or `.json`: `STEM.tokenizer.bin` beside it; `tokenizer.bin` beside it, then in the current folder; the one `tok*.bin`
 * beside it, then among the bundled models. Files that are no tokenizers are passed over, and but for those that say
 * whose they are, those of another size.
 * @throws Llama2Error E_FORMAT if nothing fits, or several do in one place, or the model's own has another size
 */
export async function findTokenizer(modelPath: string, vocabSize: number): Promise<FoundTokenizer> {
  const own = (await insideOf(modelPath)) ?? (await besideWithItsName(modelPath));
  if (own) return fitted(own.path, own, vocabSize);

  const folder = isFolder(modelPath) ? modelPath : dirname(modelPath);
  const seen = new Map<string, number>(); // path -> how many tokens
  const fitting = async (paths: string[]): Promise<FoundTokenizer[]> => {
    const found: FoundTokenizer[] = [];
    for (const path of paths) {
      const read = await readIfTokenizer(path);
      if (!read) continue;
      const { tokenizer, kind } = read;
      seen.set(path, tokenizer.vocabSize);
      // llama2.c's models have no padding
      const fits = kind === "bin" ? tokenizer.vocabSize === vocabSize : fitsPadded(tokenizer, vocabSize);
      if (fits) found.push(fitted(path, read, vocabSize));
    }
    return found;
  };
  for (const place of [join(folder, "tokenizer"), "tokenizer"]) {
    const [found] = await fitting(existing(place));
    if (found) return found;
  }
  for (const place of [folder, PACKAGE_MODELS]) {
    const found = await fitting(tokenizersIn(place));
    if (found.length === 1) return found[0];
    if (found.length > 1) {
      const list = found.map(({ path }) => path).join(", ");
      throw new Llama2Error(
        "E_FORMAT",
        `${modelPath} has a vocabulary of ${vocabSize}, and several tokenizers have that size: ${list}. Choose one`,
        { option: "tokenizer" },
      );
    }
  }
  const others = [...seen].map(([path, size]) => `${path} has ${size}`);
  throw new Llama2Error(
    "E_FORMAT",
    `found no tokenizer for ${modelPath}, whose vocabulary has ${vocabSize} tokens${others.length > 0 ? ` (${others.join(", ")})` : ""}. Put its tokenizer.bin beside it, or name it`,
    { option: "tokenizer" },
  );
}

/** A tokenizer for a model of this vocabulary, which may have some rows more. */
function fitted(path: string, { tokenizer, kind }: ReadTokenizer, vocabSize: number): FoundTokenizer {
  checkVocabSize(tokenizer, path, vocabSize);
  const pieces = tokenizer.vocabSize;
  const missing = vocabSize - pieces;
  const note = `the last ${missing} of the model's ${vocabSize} tokens have no text: ${path} has ${pieces}`;
  return { path, tokenizer: padded(tokenizer, vocabSize), kind, pieces, note: missing === 0 ? undefined : note };
}

/** The tokenizer within a GGUF file, or in the folder that a model is. */
async function insideOf(modelPath: string): Promise<(ReadTokenizer & { path: string }) | undefined> {
  if (isFolder(modelPath)) {
    const path = ["tokenizer.model", "tokenizer.json", "tokenizer.bin"]
      .map((name) => join(modelPath, name))
      .find((path) => existsSync(path));
    if (path !== undefined) return { path, ...(await readAny(path)) };
    const ggufs = readdirSync(modelPath).filter((name) => name.endsWith(".gguf"));
    return ggufs.length === 1 ? insideOf(join(modelPath, ggufs[0])) : undefined;
  }
  if (!existsSync(modelPath)) return undefined;
  const file = fileAt(modelPath);
  try {
    const magic = new Uint8Array(Math.min(4, file.size));
    await file.read(magic, 0);
    if (String.fromCharCode(...magic) !== "GGUF") return undefined;
    const [{ openGguf }, { ggufTokenizer }] = await Promise.all([import("../gguf.ts"), import("./ggufTokenizer.ts")]);
    const tokenizer = ggufTokenizer((await openGguf(file)).values, modelPath);
    return tokenizer && { path: modelPath, tokenizer, kind: "gguf" };
  } finally {
    file.close();
  }
}

/** STEM.tokenizer.bin, whose name says to which model it belongs. */
async function besideWithItsName(modelPath: string): Promise<(ReadTokenizer & { path: string }) | undefined> {
  const stem = basename(modelPath).replace(/\.(bin|gguf|safetensors|pth?)$/, "");
  for (const path of existing(join(dirname(modelPath), `${stem}.tokenizer`))) {
    const read = await readIfTokenizer(path);
    if (read) return { path, ...read };
  }
  return undefined;
}

/** The files that have this name but for their ending. */
const existing = (name: string): string[] => ENDINGS.map((ending) => name + ending).filter((path) => existsSync(path));

/** The tokenizer in the file at `path`, or undefined if it is none. */
async function readIfTokenizer(path: string): Promise<ReadTokenizer | undefined> {
  try {
    return await readAny(path);
  } catch (error) {
    if (error instanceof Llama2Error) return undefined;
    throw error;
  }
}

/** The files in `folder` that are called like a tokenizer. */
function tokenizersIn(folder: string): string[] {
  try {
    const names = readdirSync(folder).filter((name) => /^tok.*\.(bin|model)$/.test(name));
    return names.sort().map((name) => join(folder, name));
  } catch {
    return [];
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
