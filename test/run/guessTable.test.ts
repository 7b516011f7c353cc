/*
 * The table of guesses compared with one made of a Map of strings: same guesses, same counts, after every token.
 */
import { describe, expect, it } from "vitest";
import { GuessTable, hashHigh, hashLow } from "../../src/run/guessTable.ts";
import { Dice } from "../fuzz/dice.ts";
import { frugally } from "../helpers/frugally.ts";
import { fromFile } from "../helpers/guessEntries.ts";

/** The same, as it would be written without a thought for speed. */
class Oracle {
  readonly contexts = new Map<string, { token: number; times: number }>();
  readonly longest: number;

  constructor(longest: number) {
    this.longest = longest;
  }

  /** The contexts that end at `end`, the shortest first. */
  keys(tokens: readonly number[], end: number): string[] {
    return Array.from({ length: Math.min(end, this.longest) }, (_, i) => tokens.slice(end - 1 - i, end).join());
  }

  find(tokens: readonly number[], end: number) {
    const keys = this.keys(tokens, end);
    const known = keys.flatMap((key, i) => ({
      matched: i + 1,
      ...(this.contexts.get(key) ?? { token: -1, times: 0 }),
    }));
    const [longest, shorter] = known.filter(({ times }) => times > 0).reverse();
    if (longest?.times === 1 && shorter?.times > 1) return shorter;
    return longest ?? { matched: 0, token: -1, times: 0 };
  }

  learn(tokens: readonly number[], at: number): void {
    let known = true;
    for (const key of this.keys(tokens, at)) {
      const entry = this.contexts.get(key);
      if (!entry) {
        if (known) this.contexts.set(key, { token: tokens[at], times: 1 });
      } else if (entry.token === tokens[at]) entry.times++;
      else if (entry.times > 1) entry.times--;
      else entry.token = tokens[at];
      known = entry !== undefined;
    }
  }
}

/** Tokens that repeat themselves as text does: of few kinds, with runs copied from before. */
function textLike(count: number, kinds: number): number[] {
  const dice = new Dice(7);
  const tokens = [1];
  while (tokens.length < count) {
    const from = dice.below(tokens.length);
    if (dice.below(2) === 0) tokens.push(dice.below(kinds));
    else tokens.push(...tokens.slice(from, from + 1 + dice.below(20)));
  }
  return tokens.slice(0, count);
}

describe("the table of guesses", () => {
  it.each([1, 3, 8, 12])("guesses as a Map does, with contexts of up to %i tokens", (longest) => {
    const tokens = textLike(8_000, 50);
    const table = new GuessTable({ longest });
    const oracle = new Oracle(longest);
    for (let at = 1; at < tokens.length; at++) {
      const token = table.find(tokens, at);
      expect({ token, matched: table.matched, times: table.times }).toEqual(oracle.find(tokens, at));
      table.learn(tokens, at);
      oracle.learn(tokens, at);
    }
    expect(table.entries).toBe(oracle.contexts.size);
    expect(table.entries).toBeGreaterThan(longest >= 8 ? 4096 : 40); // it has grown
  });

  it("guesses nothing before it has learnt, nor without a context", () => {
    const table = new GuessTable();
    expect(table.find([1, 2, 3], 3)).toBe(-1);
    table.learn([1, 2], 1);
    expect(table.find([1], 1)).toBe(2);
    expect([table.matched, table.times]).toEqual([1, 1]);
    expect(table.find([1], 0)).toBe(-1);
    expect([table.matched, table.times]).toEqual([0, 0]);
  });

  it("stays within its size, keeps frequent entries and drops rare ones", () => {
    const table = new GuessTable({ longest: 2, maxBytes: 64 * 1024 });
    const dice = new Dice(3);
    const often = [30_000, 30_001, 30_002];
    for (let i = 0; i < 20_000; i++) {
      const rare = dice.below(30_000);
      table.learn([rare, dice.below(30_000)], 1);
      for (let at = 1; i % 10 === 0 && at < often.length; at++) table.learn(often, at);
    }
    expect(table.entries).toBeLessThanOrEqual(4096 + 15);
    expect(table.entries).toBeGreaterThan(4000);
    expect(table.find(often, 1)).toBe(30_001);
    expect(table.find(often, 2)).toBe(30_002);
    expect(table.matched).toBe(2);
  });

  it.each([30, 400, 8_000])("goes on learning from a file of what it learned from %i tokens", (count) => {
    const tokens = textLike(16_000, 50);
    const learnt = new GuessTable();
    for (let at = 1; at < count; at++) learnt.learn(tokens, at);
    const entries: number[] = [];
    learnt.forEach((...entry) => {
      entries.push(...entry);
    });
    const copy = new GuessTable();
    copy.add(fromFile(8, entries));
    for (let at = count; at < tokens.length; at++) {
      const token = learnt.find(tokens, at);
      expect([copy.find(tokens, at), copy.matched, copy.times]).toEqual([token, learnt.matched, learnt.times]);
      learnt.learn(tokens, at);
      copy.learn(tokens, at);
    }
    expect(copy.entries).toBe(learnt.entries);
  });

  it("ignores entries that are no context's", () => {
    const table = new GuessTable();
    table.learn([1, 2], 1);
    const entries: number[] = [];
    table.forEach((low, high, token) => {
      for (const add of [0, 16, 32, 2 ** 28]) entries.push(low, high + add, token + add, 5);
    });
    entries.push(0, 2 ** 30 - 1, 3, 5);
    const filed = fromFile(8, entries);
    frugally(() => table.add(filed));
    expect([table.find([1], 1), table.times]).toEqual([2, 6]);
  });

  it("stores the entries that it is given, and lists them again", () => {
    const learnt = new GuessTable();
    const tokens = textLike(8_000, 50);
    for (let at = 1; at < tokens.length; at++) learnt.learn(tokens, at);
    const copy = new GuessTable();
    learnt.forEach((...entry) => {
      copy.put(...entry);
    });
    expect(copy.entries).toBe(learnt.entries);
    for (let at = 1; at < tokens.length; at++) {
      const token = learnt.find(tokens, at);
      expect([copy.find(tokens, at), copy.matched, copy.times]).toEqual([token, learnt.matched, learnt.times]);
    }
  });

  it("merges entries of contexts that it has learned already: the stronger one leads", () => {
    const table = new GuessTable();
    for (const at of [1, 2]) table.learn([5, 6, 7], at); // after 5 comes 6, after 6 comes 7
    const entry = (token: number, next: number, times: number) => [hashLow(0, token), hashHigh(0, token), next, times];
    table.add(fromFile(8, [entry(5, 9, 40), entry(6, 7, 40), entry(8, 3, 40)].flat()));
    expect(table.entries).toBe(3);
    const known = [5, 6, 8].map((token) => [table.find([token], 1), table.times]);
    expect(known).toEqual([
      [9, 39],
      [7, 41],
      [3, 40],
    ]);
  });

  it("replaces an entry whose count has fallen to that of a new one", () => {
    const table = new GuessTable({ maxBytes: 128 });
    const tokens = () => {
      const all: number[] = [];
      table.forEach((_low, _high, token) => {
        all.push(token);
      });
      return all;
    };
    for (let i = 0; i < 16; i++) table.put(0, i, i, 2 + i); // in the 16 places that are in reach
    const first = tokens();
    table.put(0, 16, 16, 1);
    expect(tokens()).toEqual(first);
    table.put(0, 16, 16, 1);
    expect(tokens()).toEqual([16, ...first.slice(1)]);
  });

  it("distinguishes contexts that share half of their hash", () => {
    const learnt = new GuessTable();
    learnt.learn([1, 2], 1);
    const other = new GuessTable();
    learnt.forEach((low, high) => {
      other.put(low, high ^ 1, 3, 1);
    });
    expect(other.find([1], 1)).toBe(-1);
  });
});
