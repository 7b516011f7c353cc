/*
 * The tokenizer that belongs to a model, found in Node's file system.
 */
import { existsSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { Llama2Error } from "../../errors.ts";
import { bytesText } from "../../files/bytes.ts";
import { InputFile } from "../../files/inputFile.ts";
import { packagePath } from "../../files/packageFolder.ts";
import type { Tokenizer } from "../../llama2/tokenizer.ts";
import { checkVocabSize, parseTokenizer } from "./bin.ts";

/** The folder of the bundled model, its tokenizer and its card. */
export const PACKAGE_MODELS = packagePath("models");

/** 16 MiB, three times as large as the largest real vocabularies. */
const MAX_BYTES = 1 << 24;

/**
 * Read a tokenizer file.
 * @throws Llama2Error E_FILE, E_FORMAT
 */
export function readTokenizer(path: string): Tokenizer {
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
    return parseTokenizer(bytes, path);
  } finally {
    file.close();
  }
}

/** A tokenizer and where it was found. */
export interface FoundTokenizer {
  path: string;
  tokenizer: Tokenizer;
}

/**
 * Find the tokenizer of the model at `modelPath`, whose vocabulary has `vocabSize` tokens: `STEM.tokenizer.bin`
 * beside it; `tokenizer.bin` beside it, then in the current folder; the one `tok*.bin` beside it, then among the
 * bundled models. Files that are no tokenizers are passed over, and but for the first, which says whose it is, those of
 * another size.
 * @throws Llama2Error E_FORMAT if nothing fits, or several do in one place, or the model's own has another size
 */
export function findTokenizer(modelPath: string, vocabSize: number): FoundTokenizer {
  const folder = dirname(modelPath);
  const own = join(folder, `${basename(modelPath).replace(/\.bin$/, "")}.tokenizer.bin`);
  const ownTokenizer = existsSync(own) ? readIfTokenizer(own) : undefined;
  if (ownTokenizer) {
    checkVocabSize(ownTokenizer, own, vocabSize);
    return { path: own, tokenizer: ownTokenizer };
  }

  const seen = new Map<string, number>(); // path -> how many tokens
  const fitting = (paths: string[]): FoundTokenizer[] =>
    paths.flatMap((path) => {
      const tokenizer = readIfTokenizer(path);
      if (tokenizer) seen.set(path, tokenizer.vocabSize);
      return tokenizer?.vocabSize === vocabSize ? [{ path, tokenizer }] : [];
    });
  for (const path of [join(folder, "tokenizer.bin"), "tokenizer.bin"].filter((path) => existsSync(path))) {
    const [found] = fitting([path]);
    if (found) return found;
  }
  for (const place of [folder, PACKAGE_MODELS]) {
    const found = fitting(tokenizersIn(place));
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

/** The tokenizer in the file at `path`, or undefined if it is none. */
function readIfTokenizer(path: string): Tokenizer | undefined {
  try {
    return readTokenizer(path);
  } catch (error) {
    if (error instanceof Llama2Error) return undefined;
    throw error;
  }
}

/** The files in `folder` that are called like a tokenizer. */
function tokenizersIn(folder: string): string[] {
  try {
    const names = readdirSync(folder).filter((name) => /^tok.*\.bin$/.test(name));
    return names.sort().map((name) => join(folder, name));
  } catch {
    return [];
  }
}
