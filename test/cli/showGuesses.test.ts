/*
 * How a story shows the tokens that were guessed. (In colour: terminal.test.ts.)
 */
import { describe, expect, it } from "vitest";
import { GuessColours, painted } from "../../src/cli/guessColours.ts";
import type { Generation } from "../../src/generation.ts";
import type { Model } from "../../src/model.ts";
import { loadTokenizer } from "../../src/tokens.ts";
import { llama2 } from "../helpers/cli.ts";

const FLAGS = ["-s", "7", "-n", "120"];
const json = async (...flags: string[]) => JSON.parse((await llama2([...FLAGS, "--json", ...flags])).stdout.toString());

describe("guesses of a story", () => {
  it("are counted in --json, which otherwise stays the same", async () => {
    const [plain, ahead] = [await json("--lookahead", "off"), await json("--lookahead", "3")];
    expect(plain.lookahead).toBeUndefined();
    expect([ahead.text, ahead.tokens]).toEqual([plain.text, plain.tokens]);
    const { passes, guessed, accepted, tokensPerPass } = ahead.lookahead;
    expect(accepted).toBeGreaterThan(10);
    expect(guessed).toBeGreaterThan(accepted);
    expect(passes).toBeLessThan(plain.tokens.length - accepted / 2);
    expect(tokensPerPass).toBeCloseTo((passes + accepted) / passes);
  });

  it("are counted for each of several stories, and for all candidates of --best", async () => {
    const { stdout } = await llama2([...FLAGS, "-N", "2", "--json", "--lookahead", "3"]);
    const [first, second] = stdout
      .toString()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).lookahead);
    expect(first.passes).toBeGreaterThan(10);
    expect(second.passes).toBeGreaterThan(10);
    const best = await json("--best", "2", "--lookahead", "3");
    expect(best.lookahead.passes).toBeGreaterThan(best.tokens.length / 4);
  });

  it("are summed up with --show-guesses, beside the same text", async () => {
    const plain = await llama2(FLAGS);
    const shown = await llama2([...FLAGS, "--show-guesses", "--lookahead", "3"]);
    expect(shown.stdout.toString()).toBe(plain.stdout.toString());
    expect(plain.stderr).not.toContain("a pass");
    expect(shown.stderr).toMatch(/^tokens a pass: [1-4]\.\d\d \(\d+ in \d+ passes; \d+ of \d+ guesses were right\)$/m);
    const off = await llama2([...FLAGS, "--show-guesses", "--lookahead", "off"]);
    expect(off.stderr).toContain("nothing was guessed ahead\n");
  });

  it("are coloured one by one, and the colour ends with the text", async () => {
    const tokenizer = await loadTokenizer();
    const tokens = tokenizer.encode("One day a bird sang");
    const colours = new GuessColours(
      { tokenizer } as Model,
      { promptTokens: tokens.slice(0, 2) } as unknown as Generation,
    );
    const text =
      colours.push({ sequence: 0, text: "One", tokens: [] }) +
      colours.push({ sequence: 0, text: "", tokens: tokens.slice(2), guessed: [0, 1, 3] }) +
      colours.end();
    expect(painted(text)).toBe("One\x1b[36m day a\x1b[39m bird\x1b[36m sang\x1b[39m");
  });

  it.each([[["-N", "2"]], [["-m", "chat"]]])("--show-guesses does not go with %j", async (flags) => {
    const { code, stderr } = await llama2(["--show-guesses", ...flags]);
    expect(code).toBe(2);
    expect(stderr).toContain("--show-guesses goes with a single story");
  });
});
