/*
 * Finds the tokenizer that belongs to a model, in Node's file system.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { PreparingTokenizer } from "../../encode.ts";
import { Llama2Error } from "../../errors.ts";
import { fileAt } from "../../files/disk.ts";
import { InputFile } from "../../files/inputFile.ts";
import { packagePath } from "../../files/packageFolder.ts";
import { fitsPadded, parseTokenizer } from "./bin.ts";
import {
  checkTokenizerSize,
  FOLDER_TOKENIZERS,
  type FoundTokenizer,
  fitted,
  parseAnyTokenizer,
  type ReadTokenizer,
  tokenizerInside,
} from "./read.ts";

export type { FoundTokenizer };

/** The folder of the bundled model, its tokenizer and its card. */
export const PACKAGE_MODELS = packagePath("models");

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
 * Read a tokenizer file: llama2.c's tokenizer.bin, sentencepiece's tokenizer.model or Hugging Face's tokenizer.json,
 * recognised by its first bytes.
 * @throws Llama2Error E_FILE, E_FORMAT
 */
export const readAnyTokenizer = async (path: string): Promise<PreparingTokenizer> => (await readAny(path)).tokenizer;

const readAny = async (path: string): Promise<ReadTokenizer> => parseAnyTokenizer(readBytes(path), path);

function readBytes(path: string): Uint8Array {
  const file = new InputFile(path);
  try {
    checkTokenizerSize(file.size, path);
    const bytes = new Uint8Array(file.size);
    file.read(bytes, 0);
    return bytes;
  } finally {
    file.close();
  }
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
 * beside it, then among the bundled models. Files that are not tokenizers are skipped, and so are tokenizers of another
 * size, except those that belong to this model by their names.
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
      // llama2.c's models have no padding rows
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

/** The tokenizer within a GGUF file, or in the folder that a model is. */
async function insideOf(modelPath: string): Promise<(ReadTokenizer & { path: string }) | undefined> {
  if (isFolder(modelPath)) {
    const path = FOLDER_TOKENIZERS.map((name) => join(modelPath, name)).find((path) => existsSync(path));
    if (path !== undefined) return { path, ...(await readAny(path)) };
    const ggufs = readdirSync(modelPath).filter((name) => name.endsWith(".gguf"));
    return ggufs.length === 1 ? insideOf(join(modelPath, ggufs[0])) : undefined;
  }
  if (!existsSync(modelPath)) return undefined;
  const file = fileAt(modelPath);
  try {
    const read = await tokenizerInside(file);
    return read && { path: modelPath, ...read };
  } finally {
    file.close();
  }
}

/** STEM.tokenizer.bin, which belongs to the model by its name. */
async function besideWithItsName(modelPath: string): Promise<(ReadTokenizer & { path: string }) | undefined> {
  const stem = basename(modelPath).replace(/\.(bin|gguf|safetensors|pth?)$/, "");
  for (const path of existing(join(dirname(modelPath), `${stem}.tokenizer`))) {
    const read = await readIfTokenizer(path);
    if (read) return { path, ...read };
  }
  return undefined;
}

/** The files with this name and one of the endings. */
const existing = (name: string): string[] => ENDINGS.map((ending) => name + ending).filter((path) => existsSync(path));

/** The tokenizer in the file at `path`; undefined if the file is not one. */
async function readIfTokenizer(path: string): Promise<ReadTokenizer | undefined> {
  try {
    return await readAny(path);
  } catch (error) {
    if (error instanceof Llama2Error) return undefined;
    throw error;
  }
}

/** The files in `folder` that are named like a tokenizer. */
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
