/*
 * The table of guesses that belongs to a model, found in Node's file system.
 */
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { Llama2Error } from "./errors.ts";
import { InputFile } from "./files/inputFile.ts";
import { checkGuessSize, type GuessEntries, type GuessOwner, parseGuesses } from "./run/guessFile.ts";

/** Where the guesses of the model at `path` are looked for: STEM.guesses beside it. */
export function guessPath(path: string): string {
  const stem = basename(path).replace(/\.(bin|gguf|safetensors|pth?)$/, "");
  return join(dirname(path), `${stem}.guesses`);
}

/**
 * The guesses beside the model at `path`, if there are any. A file that is broken, or another model's, is ignored with a
 * note.
 */
export async function findGuesses(
  path: string,
  owner: () => Promise<GuessOwner>,
): Promise<{ guesses?: GuessEntries; note?: string }> {
  const file = guessPath(path);
  if (!existsSync(file)) return {};
  try {
    return { guesses: readGuesses(file, await owner()) };
  } catch (error) {
    if (!(error instanceof Llama2Error)) throw error;
    return { note: `without its guesses: ${error.message}` };
  }
}

/**
 * The guesses in the file at `path`, for this model.
 * @throws Llama2Error E_FILE, E_FORMAT
 */
export function readGuesses(path: string, owner: GuessOwner): GuessEntries {
  const file = new InputFile(path);
  try {
    checkGuessSize(file.size, path);
    const bytes = new Uint8Array(file.size);
    file.read(bytes, 0);
    return parseGuesses(bytes, path, owner);
  } finally {
    file.close();
  }
}
