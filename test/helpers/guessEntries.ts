/*
 * Tables of guesses, as if they had been read from a file.
 */
import { type GuessEntries, guessFileOf, parseGuesses } from "../../src/run/guessFile.ts";

const OWNER = { vocabSize: 2 ** 31 - 1 };

/** These entries, in any order, with contexts of up to `longest` tokens. */
export const fromFile = (longest: number, entries: ArrayLike<number>): GuessEntries =>
  parseGuesses(guessFileOf({ longest, entries: Int32Array.from(entries) }, OWNER), "x.guesses", OWNER);
