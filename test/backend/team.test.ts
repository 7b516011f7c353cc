/*
 * How many threads work together, decided from made-up durations.
 */
import { describe, expect, it } from "vitest";
import { Team } from "../../src/backend/team.ts";

/** Passes of `ms`, in which a team of more than `sound` threads loses `lateMs`. Returns the number of threads of
 * each. */
function passes(team: Team, count: number, ms: number, lateMs: number, sound = 1): number[] {
  return Array.from({ length: count }, () => {
    const { size } = team;
    team.ran(size > sound ? ms + lateMs : ms, size > sound ? lateMs : 0);
    return size;
  });
}

/** The share of passes that were made by more than `sound` threads. */
const tried = (sizes: number[], sound = 1) => sizes.filter((size) => size > sound).length / sizes.length;

describe("a team of threads", () => {
  it("stays whole while threads are late never or rarely", () => {
    const team = new Team(2);
    expect(tried(passes(team, 10_000, 0.25, 0))).toBe(1);
    for (let i = 0; i < 100; i++) {
      expect(passes(team, 1, 0.25, 3)).toEqual([2]); // 3 ms, once in 50
      expect(tried(passes(team, 199, 0.25, 0))).toBe(1);
    }
  });

  it.each([
    ["a tiny model, stopped for a turn of the scheduler", 0.05, 4],
    ["a tiny model, its threads woken at each barrier", 0.05, 0.1],
    ["a small model", 2, 3],
    ["a large model", 30, 30],
  ])("shrinks within a few milliseconds when a thread keeps being late: %s", (_, ms, lateMs) => {
    const team = new Team(2);
    let elapsed = 0;
    for (; team.size === 2; elapsed += ms + lateMs) passes(team, 1, ms, lateMs);
    expect(elapsed).toBeLessThanOrEqual(Math.max(10, ms + lateMs));
  });

  it("tries to grow at longer and longer intervals while that fails", () => {
    const team = new Team(2);
    const early = passes(team, 1000, 0.1, 0.2);
    passes(team, 100_000, 0.1, 0.2);
    const late = passes(team, 100_000, 0.1, 0.2);
    expect(tried(early)).toBeGreaterThan(tried(late));
    expect(tried(late)).toBeLessThan(0.005);
    expect(tried(late)).toBeGreaterThan(0); // but it does try
  });

  it("is whole again two seconds after the disturbance, and after the next one as soon as the first time", () => {
    const team = new Team(2);
    passes(team, 100_000, 0.1, 0.2);
    passes(team, 20_000, 0.1, 0);
    expect(team.size).toBe(2);
    passes(team, 2000, 0.1, 0);
    passes(team, 100, 0.1, 0.3);
    expect(team.size).toBe(1);
    expect(tried(passes(team, 500, 0.1, 0))).toBeGreaterThan(0.5);
  });

  it("of many settles at a size where no thread is late", () => {
    for (const sound of [1, 2, 5, 12, 15]) {
      const team = new Team(16);
      passes(team, 200_000, 0.1, 0.2, sound);
      const sizes = passes(team, 10_000, 0.1, 0.2, sound);
      expect(tried(sizes, sound)).toBeLessThan(0.02);
      expect(Math.max(...sizes)).toBeGreaterThan(sound / 2);
    }
  });

  it("of one stays at one", () => {
    const team = new Team(1);
    expect(new Set(passes(team, 1000, 1, 5, 0))).toEqual(new Set([1]));
  });
});
