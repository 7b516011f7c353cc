/*
 * Files with tables of guesses, valid and broken.
 */
import { describe, expect, it } from "vitest";
import { checkGuessSize, guessFileOf, parseGuesses } from "../../src/run/guessFile.ts";
import { GuessTable } from "../../src/run/guessTable.ts";
import { expectRefusal } from "../helpers/errors.ts";
import { randomTokens } from "../helpers/feed.ts";

const OWNER = { vocabSize: 10, tokenizer: "0123456789abcdef".repeat(4) };
const tokens = randomTokens(1, 2000, OWNER.vocabSize);

function learnt(): { table: GuessTable; entries: Int32Array } {
  const table = new GuessTable({ longest: 5 });
  for (let at = 1; at < tokens.length; at++) table.learn(tokens, at);
  const entries: number[] = [];
  table.forEach((...entry) => {
    entries.push(...entry);
  });
  return { table, entries: Int32Array.from(entries) };
}
const { table, entries } = learnt();
const bytes = guessFileOf({ longest: 5, entries }, OWNER);
const HEAD = 52;

/** The file with another number at `at`. */
function changed(at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint32(at, value, true);
  return copy;
}

describe("a file of guesses", () => {
  it("has the documented layout", () => {
    expect(new TextDecoder().decode(bytes.subarray(0, 8))).toBe("L2GUESS1");
    const view = new DataView(bytes.buffer);
    expect([view.getUint32(8, true), view.getUint32(44, true), view.getUint32(48, true)]).toEqual([
      10,
      5,
      table.entries,
    ]);
    expect(Buffer.from(bytes.subarray(12, 44)).toString("hex")).toBe(OWNER.tokenizer);
    expect(bytes.length).toBe(HEAD + 16 * table.entries);
    const hashes = Array.from({ length: table.entries }, (_, i) => view.getBigUint64(HEAD + 16 * i, true));
    expect(hashes).toEqual([...hashes].sort((a, b) => (a < b ? -1 : 1)));
  });

  it("gives a table that guesses as the one that was written", () => {
    const odd = Buffer.alloc(bytes.length + 1); // not aligned
    odd.set(bytes, 1);
    const copy = new GuessTable({ longest: 2, maxBytes: 4096 }); // both grow for it
    copy.add(parseGuesses(odd.subarray(1), "x.guesses", OWNER));
    expect(copy.entries).toBe(table.entries);
    for (let at = 1; at < tokens.length; at++) {
      const token = table.find(tokens, at);
      expect([copy.find(tokens, at), copy.matched, copy.times]).toEqual([token, table.matched, table.times]);
    }
  });

  it("serves a model without a tokenizer as well", () => {
    expect(parseGuesses(bytes, "x.guesses", { vocabSize: 10 }).longest).toBe(5);
    const without = guessFileOf({ longest: 5, entries }, { vocabSize: 10 });
    expect(without.subarray(12, 44)).toEqual(new Uint8Array(32));
  });

  it("is refused if it is cut at any byte", () => {
    for (let length = 0; length < bytes.length; length += length < 100 ? 1 : 97) {
      expectRefusal(() => parseGuesses(bytes.subarray(0, length), "x.guesses", OWNER), "E_FORMAT", "x.guesses");
    }
    expectRefusal(() => parseGuesses(new Uint8Array([...bytes, 0]), "x.guesses", OWNER), "E_FORMAT", "entries");
  });

  it.each<[string, Uint8Array, string]>([
    ["another magic number", changed(0, 0), "does not begin with L2GUESS1"],
    ["another vocabulary", changed(8, 11), "vocabulary of 11, and the model's has 10"],
    ["another tokenizer", changed(12, 0), "another tokenizer"],
    ["contexts of no token", changed(44, 0), "has 0 tokens, expected 1 to 16"],
    ["contexts of 17 tokens", changed(44, 17), "has 17 tokens"],
    ["a count one too small", changed(48, table.entries - 1), "entries it would have"],
    ["a count of 2^32 - 1", changed(48, 2 ** 32 - 1), "with 4294967295 entries it would have 68,719,476,772 bytes"],
    ["an entry that is out of order", changed(HEAD + 4, 2 ** 32 - 1), "at byte 68 it is not sorted by hash"],
    ["an entry twice", bytes.slice().copyWithin(HEAD + 16, HEAD, HEAD + 16), "at byte 68 it is not sorted"],
    ["a token out of range", changed(HEAD + 8, 10), "at byte 52 is token 10, out of the range of 10 tokens"],
    ["a negative token", changed(HEAD + 8, -1), "is token 4294967295"],
    ["an entry that was never seen", changed(HEAD + 12, 0), "seen 0 times"],
    ["an entry that was seen 2^31 times", changed(HEAD + 12, 2 ** 31), "seen 2147483648 times"],
  ])("with %s is refused", (_, broken, words) => {
    expectRefusal(() => parseGuesses(broken, "x.guesses", OWNER), "E_FORMAT", "x.guesses", words);
  });

  it("of more than 64 MiB is refused before it is read", () => {
    checkGuessSize(2 ** 26, "x.guesses");
    expectRefusal(() => checkGuessSize(2 ** 26 + 1, "x.guesses"), "E_FORMAT", "67,108,865 bytes");
  });
});
