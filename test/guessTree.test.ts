/*
 * Which contexts a table of guesses keeps, compared with all of them in a Map.
 */
import { describe, expect, it } from "vitest";
import { GuessTree } from "../src/guessTree.ts";
import { GuessTable } from "../src/run/guessTable.ts";
import { Dice } from "./fuzz/dice.ts";
import { fromFile } from "./helpers/guessEntries.ts";

const KINDS = 30;
const LONGEST = 4;

/** Stories that repeat pieces of each other. */
function someStories(seed: number, count: number): number[][] {
  const dice = new Dice(seed);
  const phrases = Array.from({ length: 40 }, () => Array.from({ length: 5 }, () => 2 + dice.below(KINDS - 2)));
  return Array.from({ length: count }, () => [1, ...Array.from({ length: 12 }, () => dice.pick(phrases)).flat()]);
}

const tableOf = (entries: Int32Array): GuessTable => {
  const table = new GuessTable({ longest: LONGEST });
  table.add(fromFile(LONGEST, entries));
  return table;
};

function hitsOf(stories: readonly number[][], guess: (story: number[], at: number) => number | undefined): number {
  let hits = 0;
  for (const story of stories) for (let at = 1; at < story.length; at++) if (guess(story, at) === story[at]) hits++;
  return hits;
}

/** What came most often after each context, and was seen more than once. */
function everyContext(stories: readonly number[][]): Map<string, number> {
  const counts = new Map<string, number[]>();
  for (const story of stories) {
    for (let at = 1; at < story.length; at++) {
      for (let length = 1; length <= Math.min(at, LONGEST); length++) {
        const key = story.slice(at - length, at).join();
        const count = counts.get(key) ?? new Array(KINDS).fill(0);
        count[story[at]]++;
        counts.set(key, count);
      }
    }
  }
  const known = [...counts].filter(([, count]) => Math.max(...count) > 1);
  return new Map(known.map(([key, count]) => [key, count.indexOf(Math.max(...count))]));
}

describe("the contexts that a table keeps", () => {
  const stories = someStories(1, 60);
  const all = everyContext(stories);
  const longestKnown = (story: number[], at: number) => {
    for (let length = Math.min(at, LONGEST); length > 0; length--) {
      const token = all.get(story.slice(at - length, at).join());
      if (token !== undefined) return token;
    }
    return undefined;
  };

  it("guess as many tokens as all contexts, in a fraction of the entries", () => {
    const table = tableOf(new GuessTree(stories, KINDS, LONGEST).best(1e6));
    const hits = hitsOf(stories, (story, at) => table.find(story, at));
    expect(hits).toBeGreaterThanOrEqual(hitsOf(stories, longestKnown));
    expect(table.entries).toBeLessThan(all.size / 2);
  });

  it("are the most useful ones, as many as the limit allows", () => {
    const tree = new GuessTree(stories, KINDS, LONGEST);
    const entries = tree.best(1e6).length / 4;
    const hits = [entries, 200, 100, 50].map((most) => {
      const table = tableOf(tree.best(most));
      expect(table.entries).toBe(most);
      return hitsOf(stories, (story, at) => table.find(story, at));
    });
    expect(hits).toEqual([...hits].sort((a, b) => b - a));
    expect(hits[1]).toBeGreaterThan(0.96 * hits[0]); // those that are left out guess few
  });

  it("are judged by the tokens that no longer context guesses", () => {
    const [e, f, g, c, b, x, y, p, q] = [2, 3, 4, 5, 6, 7, 8, 9, 10];
    const repeated = [
      [[e, c, b, x], 8],
      [[f, c, b, y], 9],
      [[g, b, x], 20],
      [[p, q], 5],
    ] as const;
    const tree = new GuessTree(
      repeated.flatMap(([story, times]) => new Array(times).fill(story)),
      KINDS,
      LONGEST,
    );
    const table = tableOf(tree.best(7)); // all that is worth something, but for p
    expect([e, f, c, g, b, p].map((token) => table.find([token], 1))).toEqual([c, c, b, b, x, -1]);
    expect(table.find([f, c, b], 3)).toBe(y); // 9 times, as 8 of those where x came have a longer context
    expect(table.find([e, c, b], 3)).toBe(x);
  });

  it("do not span two stories", () => {
    const entries = new GuessTree([[5], [6], [5], [6]], KINDS, LONGEST).best(100);
    expect(entries.length).toBe(0);
  });
});
