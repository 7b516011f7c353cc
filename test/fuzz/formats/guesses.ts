/*
 * Tables of guesses.
 */
import { guessFileOf, parseGuesses } from "../../../src/run/guessFile.ts";
import { GuessTable } from "../../../src/run/guessTable.ts";
import { damaged } from "../bytes.ts";
import type { Target } from "../fuzz.ts";

const OWNER = { vocabSize: 50, tokenizer: "5a".repeat(32) };

export const guesses: Target = {
  name: "guesses",
  files: ["run/guessFile", "run/guessTable"],
  make(dice) {
    const entries = Int32Array.from({ length: 4 * dice.below(20) }, (_, i) => {
      if (i % 4 < 2) return dice.chance(0.9) ? dice.next() : dice.below(2);
      return dice.chance(0.99) ? 1 + dice.below(49) : dice.whole();
    });
    const longest = dice.chance(0.9) ? 1 + dice.below(16) : dice.whole();
    const owner = dice.chance(0.95) ? OWNER : { ...OWNER, vocabSize: dice.whole() };
    return { "x.guesses": damaged(guessFileOf({ longest, entries }, owner), dice, 0.4) };
  },
  async read({ "x.guesses": bytes }) {
    const table = new GuessTable({ longest: 3 });
    table.add(parseGuesses(bytes, "x.guesses", OWNER));
    const tokens = [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3];
    for (let at = 1; at < tokens.length; at++) {
      if (table.find(tokens, at) >= OWNER.vocabSize) throw new Error("a guess out of range");
      table.learn(tokens, at);
    }
  },
};
