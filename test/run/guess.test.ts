import { describe, expect, it } from "vitest";
import { type Continuing, Guesses, TableGuesser } from "../../src/run/guess.ts";
import type { GuessEntries } from "../../src/run/guessFile.ts";
import { GuessTable } from "../../src/run/guessTable.ts";
import { fromFile } from "../helpers/guessEntries.ts";

const sequence = (tokens: number[], { left = 100, stops = [] as number[] } = {}): Continuing => {
  return { tokens, left, stops, guesses: new Guesses() };
};
const used = ({ guesses }: Continuing) => Array.from(guesses.tokens.subarray(0, guesses.used));
/** A text that no context of two tokens stands in twice. */
const text = (length: number) => Array.from({ length }, (_, i) => 100 + i);
const taught = (lookahead: "auto" | number, times = 3) => {
  const guesser = new TableGuesser(new GuessTable(), lookahead);
  for (let i = 0; i < times; i++) guesser.learn(text(50), 0);
  return guesser;
};
/** Tell it what passes cost, until it knows. */
function passes(guesser: TableGuesser, costs: Record<number, number>): void {
  for (let i = 0; i < 8; i++) for (const [rows, ms] of Object.entries(costs)) guesser.passed(Number(rows), ms);
}
/** Guess, and tell it that this was right, or wrong, so many times. */
function experience(guesser: TableGuesser, isRight: boolean, times: number): void {
  for (let i = 0; i < times; i++) {
    const some = sequence(text(20));
    guesser.guess([some], 15);
    expect(some.guesses.count).toBeGreaterThan(0);
    guesser.check(some.guesses, isRight ? 120 : 7);
  }
}

/** What a file says that was learned from `tokens`. */
function entriesOf(tokens: number[]): GuessEntries {
  const table = new GuessTable();
  const entries: number[] = [];
  for (let times = 0; times < 8; times++) for (let at = 1; at < tokens.length; at++) table.learn(tokens, at);
  table.forEach((...entry) => {
    entries.push(...entry);
  });
  return fromFile(table.longest, entries);
}

describe("guesses are", () => {
  it("the tokens that followed the same context in an earlier text", () => {
    const guesser = taught(4);
    const some = sequence([1, 2, 105, 106, 107]);
    guesser.guess([some], 15);
    expect(used(some)).toEqual([108, 109, 110, 111]);
  });

  it("the tokens that the sequence itself repeats, though the table knows none of them", () => {
    const guesser = new TableGuesser(new GuessTable(), 3);
    const some = sequence([1, 5, 6, 7, 8, 9, 4, 5, 6]);
    guesser.guess([some], 15);
    expect(used(some)).toEqual([7, 8, 9]);
  });

  it("never a stop token, nor any after it", () => {
    const some = sequence([1, 2, 105, 106, 107], { stops: [110] });
    taught(4).guess([some], 15);
    expect(used(some)).toEqual([108, 109]);
  });

  it("one fewer than the sequence may still get, since sampling itself yields one", () => {
    const some = sequence([1, 2, 105, 106, 107], { left: 3 });
    taught(4).guess([some], 15);
    expect(used(some)).toEqual([108, 109]);
  });

  it("no more than fit into the pass, spread over its sequences", () => {
    const both = [sequence([104, 105]), sequence([120, 121])];
    taught(4).guess(both, 5);
    expect(both.map(used)).toEqual([
      [106, 107, 108],
      [122, 123],
    ]);
  });

  it("those of a file that has been taken in", () => {
    const guesser = new TableGuesser(new GuessTable(), 3);
    guesser.takeIn(entriesOf(text(50)));
    const some = sequence([1, 2, 105, 106, 107]);
    guesser.guess([some], 15);
    expect(used(some)).toEqual([108, 109, 110]);
  });

  it("none after a context that was never seen", () => {
    const some = sequence([3, 4]);
    taught(4).guess([some], 15);
    expect(used(some)).toEqual([]);
  });
});

describe("how many guesses are used", () => {
  const cheap = { 1: 10, 2: 10.2, 4: 10.6, 8: 11, 16: 12 };
  const dear = { 1: 10, 2: 20, 4: 40, 8: 80, 16: 160 };

  it("many if wider passes are cheap and similar guesses were right", () => {
    const guesser = taught("auto");
    passes(guesser, cheap);
    experience(guesser, true, 200);
    const some = sequence(text(20));
    guesser.guess([some], 15);
    expect(some.guesses.used).toBeGreaterThan(7);
  });

  it("none if a pass of two tokens costs as much as two passes, however often guesses were right", () => {
    const guesser = taught("auto");
    passes(guesser, dear);
    experience(guesser, true, 200);
    for (let i = 0; i < 20; i++) {
      const some = sequence(text(20));
      guesser.guess([some], 15);
      expect(some.guesses.used).toBe(0);
    }
  });

  it("none if similar guesses were wrong", () => {
    const guesser = taught("auto");
    passes(guesser, cheap);
    experience(guesser, false, 400);
    const some = sequence(text(20));
    guesser.guess([some], 15);
    expect(some.guesses.used).toBe(0);
  });

  it("the most probable ones in a pass of several sequences", () => {
    const guesser = taught("auto", 20);
    passes(guesser, { 1: 10, 2: 10, 3: 12, 4: 14, 8: 28 });
    experience(guesser, true, 200);
    const sure = sequence(text(20));
    const unsure = sequence([7, 8, 9, 7, 8, 4, 7, 8]); // 9 or 4?
    guesser.guess([unsure, sure], 1);
    expect([unsure.guesses.used, sure.guesses.used]).toEqual([0, 1]);
  });

  it("always as many as were asked for, if that number is fixed", () => {
    const guesser = taught(5);
    passes(guesser, dear);
    experience(guesser, false, 200);
    const some = sequence(text(20));
    guesser.guess([some], 15);
    expect(some.guesses.used).toBe(5);
  });
});

/** Guess before so many passes, at most until it rests. Each takes `ms`, and all its guesses are right or none. */
function guess(guesser: TableGuesser, most: number, isRight: boolean, ms: number): number {
  for (let pass = 0; pass < most; pass++) {
    if (guesser.idle(1) > 0) return pass;
    const some = sequence(text(20));
    guesser.guess([some], 1);
    some.guesses.used = 1; // whatever it would have chosen
    if (isRight) some.guesses.right = 1;
    guesser.passed(2, ms);
  }
  return most;
}

describe("guessing rests", () => {
  const measured = () => {
    const guesser = taught("auto");
    guesser.idled(1000, 1, 10_000);
    return guesser;
  };

  it("when its passes have taken a hundredth of the time longer than plain ones would have", () => {
    const passes = guess(measured(), 1000, false, 15); // each loses 5 ms, and may lose 0.15; so far 100
    expect(passes).toBeGreaterThan(15);
    expect(passes).toBeLessThan(30);
  });

  it("not while they yield as many tokens more", () => {
    expect(guess(measured(), 1000, true, 15)).toBe(1000);
  });

  it("however fast passes were for which it found no guess", () => {
    const guesser = measured();
    for (let pass = 0; pass < 1000; pass++) {
      guesser.guess([sequence([3, 4])], 1);
      guesser.passed(1, 5);
    }
    expect(guess(guesser, 1000, false, 15)).toBeLessThan(50);
  });

  it("until it may lose something again", () => {
    const guesser = measured();
    guess(guesser, 1000, false, 15);
    const rest = guesser.idle(1);
    guesser.idled(rest - 1, 1, 10 * (rest - 1));
    expect(guesser.idle(1)).toBeGreaterThan(0);
    guesser.idled(2, 1, 20);
    expect(guesser.idle(1)).toBe(0);
  });

  it("later if it has gained before, but not much later", () => {
    const guesser = measured();
    guess(guesser, 1000, true, 15);
    const passes = guess(guesser, 1000, false, 15);
    expect(passes).toBeGreaterThan(80); // 64 passes of 15 ms were saved
    expect(passes).toBeLessThan(250);
  });

  it.each([
    [0.1, false],
    [10, true],
  ])("and learning with it, if a token takes little: %d ms", (ms, learns) => {
    const table = new GuessTable();
    const guesser = new TableGuesser(table, "auto");
    guesser.learn(text(50), 0);
    guesser.idled(1000, 1, 1000 * ms);
    guess(guesser, 1000, false, 1.5 * ms);
    expect(guesser.idle(1)).toBeGreaterThan(0);
    const before = table.entries;
    guesser.learn([1, 2, 3, 4], 0);
    expect(table.entries > before).toBe(learns);
  });

  it("never if the number of guesses is fixed", () => {
    const table = new GuessTable();
    const guesser = new TableGuesser(table, 1);
    guesser.learn(text(50), 0);
    guesser.idled(1000, 1, 100);
    expect(guess(guesser, 1000, false, 0.15)).toBe(1000);
    const before = table.entries;
    guesser.learn([1, 2, 3, 4], 0);
    expect(table.entries).toBeGreaterThan(before);
  });
});

describe("passes without it", () => {
  it("come first, until it is known what they cost", () => {
    const guesser = taught("auto");
    const some = sequence(text(20));
    guesser.guess([some], 15);
    expect(some.guesses.count).toBe(0);
    const idle = guesser.idle(1);
    expect(idle).toBeGreaterThan(0);
    guesser.idled(idle, 1, 10 * idle);
    expect(guesser.idle(1)).toBe(0);
    expect(guesser.idle(2)).toBeGreaterThan(0);
    guesser.guess([some], 15);
    expect(some.guesses.count).toBeGreaterThan(0);
  });

  it("say what they cost, though a guess was looked for and not used", () => {
    const guesser = taught("auto");
    guesser.idled(1000, 1, 10_000);
    for (let pass = 0; pass < 100; pass++) {
      guesser.guess([sequence([3, 4])], 1);
      guesser.passed(1, 5);
    }
    expect(guess(guesser, 1000, true, 12)).toBeLessThan(200); // two passes would have taken 10
  });

  it("are measured again after thousands of passes with guesses", () => {
    const guesser = taught("auto");
    guesser.idled(10, 1, 100);
    guess(guesser, 5000, true, 11);
    expect(guesser.idle(1)).toBeGreaterThan(0);
    guesser.idled(3, 1, 30);
    expect(guesser.idle(1)).toBe(0);
  });

  it("are none where the number of guesses is fixed, even if nothing could be guessed so far", () => {
    const guesser = new TableGuesser(new GuessTable(), 4);
    passes(guesser, { 1: 1e-6 });
    const some = sequence(text(20));
    for (let pass = 0; pass < 20; pass++) guesser.guess([some], 15);
    expect(some.guesses.count).toBe(0);
    expect(guesser.idle(1)).toBe(0);
    guesser.learn(text(50), 0);
    guesser.guess([some], 15);
    expect(used(some)).toEqual([120, 121, 122, 123]);
  });

  it("say what a plain pass costs", () => {
    const dear = taught("auto");
    passes(dear, { 2: 10 });
    dear.idled(8, 1, 8 * 1);
    experience(dear, true, 200);
    const some = sequence(text(20));
    dear.guess([some], 1);
    expect(used(some)).toEqual([]); // ten times as long for at most twice as much
  });

  it("are all where many sequences share them", () => {
    const guesser = taught("auto");
    const many = Array.from({ length: 5 }, () => sequence(text(20)));
    for (let pass = 0; pass < 100; pass++) guesser.guess(many, 15);
    expect(many.flatMap(used)).toEqual([]);
    expect(guesser.idle(5)).toBe(Infinity);
    expect(guesser.idle(4)).toBeLessThan(100);
  });

  it("are all, and teach it nothing, before it begins", () => {
    const table = new GuessTable();
    const guesser = new TableGuesser(table, "auto", 100);
    guesser.passed(1, 50);
    guesser.learn(text(50), 0);
    expect(guesser.idle(1)).toBe(Infinity);
    expect(table.entries).toBe(0);
    guesser.idled(5, 1, 50);
    guesser.learn(text(50), 0);
    expect(guesser.idle(1)).toBeLessThan(100);
    expect(table.entries).toBeGreaterThan(0);
  });

  it("do not wait for a file to be taken in", () => {
    const table = new GuessTable();
    const guesser = new TableGuesser(table, "auto");
    guesser.takeIn(entriesOf(text(50)));
    const many = Array.from({ length: 5 }, () => sequence(text(20)));
    for (let pass = 0; pass < 100; pass++) guesser.guess(many, 15);
    expect(table.entries).toBe(0);
    guesser.idled(10, 4, 100);
    for (let pass = 0; pass < 100; pass++) guesser.guess(many.slice(1), 15);
    expect(table.entries).toBeGreaterThan(0);
  });
});
