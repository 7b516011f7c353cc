import { describe, expect, it } from "vitest";
import { nextSeed } from "../../src/generateOptions.ts";
import { llama2 } from "../helpers/cli.ts";

describe("-N", () => {
  it("prints stories in order, each as its seed gives it alone", async () => {
    const flags = ["-n", "30", "-i", "Lily and", "-t", "0.9"];
    const { code, stdout, stderr } = await llama2(["-N", "3", "-s", "5", ...flags]);
    const alone = await Promise.all(["5", "6", "7"].map((seed) => llama2(["-s", seed, ...flags])));
    expect(code).toBe(0);
    expect(stdout.toString()).toBe(alone.map(({ stdout }) => stdout.toString()).join("<|end|>\n"));
    expect(stderr).toMatch(/^achieved tok\/s: \d+\.\d{6}\n$/);
  });

  it("with --json prints an object a line, each with all fields of a single story", async () => {
    const { stdout } = await llama2(["-N", "2", "-s", "5", "-n", "20", "--json"]);
    const lines = stdout.toString().trimEnd().split("\n");
    const alone = await llama2(["-s", "6", "-n", "20", "--json"]);
    const { timings, peakBytes, lookahead, ...story } = JSON.parse(alone.stdout.toString());
    expect(lines.length).toBe(2);
    const second = JSON.parse(lines[1]);
    expect(second).toMatchObject(story);
    expect(Object.keys(second.lookahead)).toEqual(Object.keys(lookahead));
    expect(Object.keys(second)).toEqual(Object.keys(JSON.parse(alone.stdout.toString())));
    expect(Object.keys(second.timings).sort()).toEqual(Object.keys(timings).sort());
    expect(second.peakBytes).toBeGreaterThan(peakBytes / 2);
  });

  it("accepts more stories than fit into a batch", async () => {
    const { stdout } = await llama2(["-N", "70", "-s", "1", "-n", "3", "--json"]);
    const stories = stdout
      .toString()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(stories.map(({ seed }) => seed)).toEqual(Array.from({ length: 70 }, (_, k) => `${k + 1}`));
    expect(stories.every(({ tokens }) => tokens.length === 4)).toBe(true);
  });

  it("does not go with -m chat", async () => {
    expect((await llama2(["-N", "2", "-m", "chat"])).code).toBe(2);
  });

  it.each([
    [5n, 0, 5n],
    [5n, 2, 7n],
    [2n ** 64n - 1n, 0, 2n ** 64n - 1n],
    [2n ** 64n - 1n, 1, 1n],
    [2n ** 64n - 2n, 3, 2n],
  ])("from seed %d on, story %d has seed %d", (first, k, seed) => {
    expect(nextSeed(first, k)).toBe(seed);
  });
});
