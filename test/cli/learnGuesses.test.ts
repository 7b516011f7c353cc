/*
 * llama2 learn-guesses.
 */
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { llama2 } from "../helpers/cli.ts";
import { ROOT } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

const FEW = ["--stories", "8", "--max-bytes", "2500"];

describe("learn-guesses", () => {
  const cwd = tempDir();
  const learn = (out: string, ...flags: string[]) =>
    llama2(["learn-guesses", "small.bin", out, ...FEW, ...flags], { cwd });
  beforeAll(() => copyFileSync(join(ROOT, "models", "stories2M.bin"), join(cwd, "small.bin")));

  it("writes a table that is found beside the model, the same from the same seed, and prints how good it is", async () => {
    const { code, stdout, stderr } = await learn("small.guesses", "--json");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const { hitRate, tokensPerPass, ...rest } = JSON.parse(stdout.toString());
    expect(rest).toEqual({ stories: 8, entries: 153, bytes: 2500 });
    expect(hitRate).toBeGreaterThan(0.05);
    expect(hitRate).toBeLessThan(1);
    expect(tokensPerPass["3"]).toBeGreaterThan(1);
    expect(tokensPerPass["7"]).toBeGreaterThanOrEqual(tokensPerPass["3"]);
    const file = readFileSync(join(cwd, "small.guesses"));
    expect(file.length).toBe(2500);

    const named = await learn("again.guesses", "--guesses", "small.guesses", "--backend", "wasm", "-s", "1");
    expect({ code: named.code, stdout: named.stdout.toString() }).toEqual({ code: 0, stdout: "" });
    expect(named.stderr).toContain("again.guesses: 153 entries, 2,500 bytes, from 8 stories\n");
    expect(named.stderr).toMatch(
      /guesses \d+\.\d % of the tokens: \d\.\d\d tokens a pass with 3 guesses, \d\.\d\d with 7/,
    );
    expect(readFileSync(join(cwd, "again.guesses")).equals(file)).toBe(true);

    const story = await llama2(["small.bin", "-s", "1", "-n", "20"], { cwd });
    expect(story.stderr).not.toContain("guesses");
  });

  it("learns from a text as well", async () => {
    writeFileSync(join(cwd, "text.txt"), "The zebra saw a xylophone.\n".repeat(50));
    const { code } = await learn("text.guesses", "--text", "text.txt", "--stories", "1");
    expect(code).toBe(0);
    const { code: without } = await learn("without.guesses", "--stories", "1");
    expect(without).toBe(0);
    const [some, less] = ["text", "without"].map((name) => readFileSync(join(cwd, `${name}.guesses`)).readUInt32LE(48));
    expect(some).toBeGreaterThan(less);
  });

  it("never replaces a file that it reads, and leaves no file behind if it cannot write", async () => {
    for (const [out, flags, exit, words] of [
      ["small.bin", [], 2, "small.bin would replace what it is made from"],
      ["text.txt", ["--text", "text.txt"], 2, "text.txt would replace what it is made from"],
      ["missing/x.guesses", [], 1, "cannot write missing/x.guesses"],
      ["x.guesses", ["--text", "missing.txt"], 1, "missing.txt"],
      ["x.guesses", ["--guesses", "text.txt"], 1, "text.txt is not a table of guesses"],
      ["x.guesses", ["--longest", "17"], 2, "from 1 to 16"],
      ["x.guesses", ["--lookahead", "16"], 2, "from 1 to 15"],
    ] as const) {
      const { code, stderr } = await learn(out, ...flags);
      expect(stderr).toContain(words);
      expect(code).toBe(exit);
    }
    expect(existsSync(join(cwd, "x.guesses"))).toBe(false);
    expect(readdirSync(cwd).filter((name) => name.endsWith(".part"))).toEqual([]);
  });
});
