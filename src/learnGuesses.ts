/*
 * Make a table of guesses from stories that a model generates itself. With it, generation takes fewer passes.
 */
import { checkFunction, checkOptions, checkSignal, checkThat, checkWhole } from "./check.ts";
import { encode } from "./encode.ts";
import { GuessTree } from "./guessTree.ts";
import type { Model } from "./model.ts";
import { ENTRY, guessFileOf, HEAD_BYTES, MAX_GUESS_BYTES, MAX_LONGEST, parseGuesses } from "./run/guessFile.ts";
import { GuessTable } from "./run/guessTable.ts";

export interface LearnGuessesOptions {
  /** How many stories the model generates to learn from, 1 to 100,000. @default 3000 */
  stories?: number;
  /** Of the sampler. @default 1 */
  temperature?: number;
  /** The seed of the first story; story k has `seed` + k. @default 1 */
  seed?: bigint | number;
  /** Tokens of the longest context, 1 to 16. @default 8 */
  longest?: number;
  /** Size limit of the file. Entries that guess the fewest tokens are left out. @default 450000 */
  maxBytes?: number;
  /** Texts to learn from as well, as byte strings: a character for each byte of their UTF-8. */
  documents?: readonly string[];
  signal?: AbortSignal;
  /** Called after each story: how many are done, and of how many. */
  onProgress?: (done: number, of: number) => void;
}

/** A learned table, and how well it guesses stories that it was not made from. */
export interface LearnedGuesses {
  /** The bytes of the file, to be saved beside the model as `STEM.guesses`. */
  file: Uint8Array;
  stories: number;
  entries: number;
  bytes: number;
  /** The share of tokens that it guesses right, 0 to 1. */
  hitRate: number;
  /** Tokens generated per pass, with up to 3 and up to 7 guesses. */
  tokensPerPass: { "3": number; "7": number };
}

/**
 * Learn a table of guesses from stories that the model generates, and measure it on further ones.
 * @throws Llama2Error E_USAGE, E_NUMERIC; the signal's reason
 */
export async function learnGuesses(model: Model, options: LearnGuessesOptions = {}): Promise<LearnedGuesses> {
  checkThat(
    "the model of learnGuesses",
    model,
    typeof (model as Partial<Model> | null)?.generateAll === "function",
    "a Model",
  );
  checkOptions("learnGuesses", options, OPTIONS);
  const { stories = 3000, temperature, seed = 1, longest = 8, maxBytes = 450_000, documents = [] } = options;
  const { signal, onProgress } = options;
  checkWhole("stories", stories, 1, 100_000);
  checkWhole("longest", longest, 1, MAX_LONGEST);
  checkWhole("maxBytes", maxBytes, 100, MAX_GUESS_BYTES);
  checkThat("documents", documents, Array.isArray(documents), "an array of byte strings");
  for (const document of documents) checkThat("a document", document, typeof document === "string", "a byte string");
  checkSignal(signal);
  checkFunction("onProgress", onProgress);
  const others = Math.min(300, Math.ceil(stories / 10)); // to measure the table on
  const all = stories + others;
  const lists: number[][] = [];
  const prompts = Array.from({ length: all }, () => "");
  for await (const { generation } of model.generateAll(prompts, { temperature, seed, signal })) {
    lists.push([...generation.tokens]);
    onProgress?.(lists.length, all);
  }
  const texts = documents.map((text) => encode(model.tokenizer.vocabulary, text, true, false));
  const tree = new GuessTree([...lists.slice(0, stories), ...texts], model.config.vocabSize, longest);
  const entries = tree.best(Math.floor((maxBytes - HEAD_BYTES) / (4 * ENTRY)));
  const owner = await model.guessOwner();
  const file = guessFileOf({ longest, entries }, owner);
  const table = new GuessTable({ longest });
  table.add(parseGuesses(file, "the table", owner));
  const tests = lists.slice(stories);
  return {
    file,
    stories,
    entries: entries.length / ENTRY,
    bytes: file.length,
    hitRate: hitRate(table, tests),
    tokensPerPass: { "3": tokensPerPass(table, tests, 3), "7": tokensPerPass(table, tests, 7) },
  };
}

const OPTIONS: readonly (keyof LearnGuessesOptions)[] = [
  "stories",
  "temperature",
  "seed",
  "longest",
  "maxBytes",
  "documents",
  "signal",
  "onProgress",
];

/** The share of the tokens of these stories that the table guesses right; 0 if there are no tokens. */
function hitRate(table: GuessTable, stories: readonly number[][]): number {
  let tokens = 0;
  let hits = 0;
  for (const story of stories) {
    tokens += story.length - 1;
    for (let at = 1; at < story.length; at++) if (table.find(story, at) === story[at]) hits++;
  }
  return hits / Math.max(1, tokens);
}

/** Tokens per pass, if each checks up to `most` guesses: it yields the right ones, and the token after them. */
function tokensPerPass(table: GuessTable, stories: readonly number[][], most: number): number {
  let tokens = 0;
  let passes = 0;
  for (const story of stories) {
    tokens += story.length - 1;
    for (let at = 1; at < story.length; at++, passes++) {
      for (const end = at + most; at < end && at < story.length && table.find(story, at) === story[at]; ) at++;
    }
  }
  return tokens / Math.max(1, passes);
}
