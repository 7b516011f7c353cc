/*
 * llama2 learn-guesses: a table of what a model usually says next.
 */
import { existsSync, realpathSync } from "node:fs";
import { Llama2Error } from "../errors.ts";
import { OutputFile } from "../files/outputFile.ts";
import { type LearnedGuesses, learnGuesses as learn } from "../learnGuesses.ts";
import { endProgress, print, showProgress, tell } from "./io.ts";
import { findModel, openModel } from "./model.ts";
import type { MachineFlags } from "./options.ts";
import { readDocuments } from "./perplexity.ts";

export interface LearnGuessesFlags extends MachineFlags {
  stories: number;
  temperature: number;
  seed: bigint;
  longest: number;
  maxBytes: number;
  text?: string;
  tokenizer?: string;
  json?: boolean;
}

/** Write the table OUT for MODEL, and say how good it is. */
export async function learnGuesses(
  name: string,
  outPath: string,
  flags: LearnGuessesFlags,
  signal: AbortSignal,
): Promise<void> {
  const path = await findModel(name, signal);
  for (const input of [path, flags.text]) {
    if (input !== undefined && existsSync(outPath) && existsSync(input) && isSame(input, outPath)) {
      throw new Llama2Error("E_USAGE", `${outPath} would replace what it is made from`);
    }
  }
  const documents = flags.text === undefined ? [] : await readDocuments(flags.text, signal);
  const out = new OutputFile(outPath); // fails now, and not after the work, if it cannot be written
  try {
    const { file, ...learned } = await learnFor(path, flags, documents, signal);
    out.write(file, 0);
    out.finish();
    if (flags.json) await print(`${JSON.stringify(learned)}\n`);
    else tell(summary(outPath, learned));
  } catch (error) {
    out.discard();
    throw error;
  }
}

async function learnFor(
  path: string,
  flags: LearnGuessesFlags,
  documents: string[],
  signal: AbortSignal,
): Promise<LearnedGuesses> {
  const model = await openModel(path, flags, flags.tokenizer, signal);
  try {
    const { stories, temperature, seed, longest, maxBytes } = flags;
    const onProgress = (done: number, of: number) => showProgress(`${done} of ${of} stories `);
    return await learn(model, { stories, temperature, seed, longest, maxBytes, documents, signal, onProgress });
  } finally {
    endProgress();
    await model.dispose();
  }
}

const isSame = (one: string, other: string) => realpathSync(one) === realpathSync(other);

function summary(path: string, { stories, entries, bytes, hitRate, tokensPerPass }: Omit<LearnedGuesses, "file">) {
  const number = (n: number) => n.toLocaleString("en-US");
  return `${path}: ${number(entries)} entries, ${number(bytes)} bytes, from ${number(stories)} stories
of other stories it guesses ${(100 * hitRate).toFixed(1)} % of the tokens: ${tokensPerPass[3].toFixed(2)} tokens a pass with 3 guesses, ${tokensPerPass[7].toFixed(2)} with 7`;
}
