/*
 * Invalid arguments are refused before anything is read: the model and tokenizer named here do not exist.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { llama2, llama2Here, llama2Process } from "../helpers/cli.ts";
import { shortOrLong } from "../helpers/full.ts";
import { tempDir } from "../helpers/temp.ts";

const MISSING = join(tempDir(), "missing.bin");

async function expectUsage(args: string[], ...parts: (string | RegExp)[]): Promise<void> {
  const { code, stdout, stderr } = await llama2Here(args);
  for (const part of [...parts, /^llama2: .*\(E_USAGE\)/]) expect(stderr).toMatch(part);
  expect(stderr).not.toMatch(/cannot open|^ {4}at /m);
  expect(stdout.length).toBe(0);
  expect(code).toBe(2);
}

it("a process exits with the code and says what is wrong", async () => {
  const ended = await llama2Process([MISSING, "-n", "x"]);
  expect(ended).toEqual(await llama2Here([MISSING, "-n", "x"]));
  expect(ended.code).toBe(2);
});

describe("an invalid value ends with exit code 2:", () => {
  it.each([
    ["-t", "NaN", "-1", "-0.1", "Infinity", "1e999", "abc", "", "0x10", "1,5"],
    ["-p", "NaN", "-0.1", "1.1", "Infinity", "abc", ""],
    ["-s", "1.5", "abc", "", "1e3", "-9223372036854775809", "18446744073709551616"],
    ["-n", "-1", "2147483648", "1.5", "abc", "", "1e3", "NaN"],
    ["--context", "0", "-1", "2147483648", "abc"],
    ["--threads", "0", "-1", "1.5", "abc", "1e9"],
    ["--backend", "gpu", ""],
    ["--mode", "talk", ""],
    ["--best", "0", "65", "-1", "1.5", "abc", ""],
  ])("%s", async (flag, ...values) => {
    for (const value of values)
      await expectUsage([MISSING, flag, value], `option '`, flag, `argument '${value}' is invalid`);
  });

  it("in other commands, too", async () => {
    await expectUsage(["logits", MISSING, "--tokens", "1", "--context", "0"], "--context", "from 1");
    await expectUsage(["perplexity", MISSING, MISSING, "--threads", "x"], "--threads");
  });
});

describe("invalid arguments end with exit code 2:", () => {
  it.each([
    ["a flag that does not exist", [MISSING, "--temprature", "1"], "unknown option '--temprature'"],
    ["a flag of another command", ["tokenize", "--pieces", "-t", "1", "text"], "unknown option '-t'"],
    ["a flag without its value", [MISSING, "-n"], "'-n, --steps <n>' argument missing"],
    ["a second model", [MISSING, MISSING], "too many arguments"],
    ["--json with a chat", [MISSING, "-m", "chat", "--json"], "--json"],
    ["a prompt from standard input with a chat", [MISSING, "-m", "chat", "-i", "-"], "-i - does not go with -m chat"],
    ["--receipt without --json", [MISSING, "--receipt"], "--receipt goes with --json"],
    ["--receipt of something else", [MISSING, "--json", "--receipt=tokns"], "--receipt"],
    ["--logprobs of several stories without --json", [MISSING, "--logprobs", "2", "-N", "2"], "needs --json"],
    ["21 alternatives", [MISSING, "--logprobs", "21"], "from 0 to 20"],
    ["no words", ["logits", MISSING, "--tokens", "1", "--top", "0"], "from 1 to 1000"],
    ["chat with a text and a file", ["chat", MISSING, "-y", "x", "--load", "y"], "--load has its own system text"],
    ["chat with no tokens", ["chat", MISSING, "-n", "0"], "from 1"],
    ["verify without a receipt", ["verify"], "missing required argument"],
    ["--best with several stories", [MISSING, "--best", "2", "-N", "2"], "--best tells one story"],
    ["--best with a chat", [MISSING, "--best", "2", "-m", "chat"], "--best does not go with -m chat"],
    ["--ignore-eos with a chat", [MISSING, "--ignore-eos", "-m", "chat"], "--ignore-eos does not go with -m chat"],
    ["--system without a chat", [MISSING, "-y", "Be nice."], "--system goes with -m chat"],
    [
      "a precision and a device for another backend",
      [MISSING, "--backend", "cpu", "--precision", "fp16", "--device", "1"],
      "--precision fp16 and --device need the cuda backend",
    ],
    [
      "a cache's precision for another backend",
      [MISSING, "--backend", "ts", "--kv-precision", "fp16"],
      "--kv-precision needs the cuda backend",
    ],
    [
      "--int8 with another precision",
      [MISSING, "--int8", "--precision", "fp32"],
      "--int8 does not go with --precision fp32",
    ],
    [
      "--int8 with another precision in a trace",
      ["trace", MISSING, "-i", "x", "--precision", "fp16", "--int8"],
      "--int8 does not go with --precision fp16",
    ],
    ["logits without tokens", ["logits", MISSING], "--tokens"],
    ["logits with none", ["logits", MISSING, "--tokens", " , "], "no tokens"],
    ["logits with an invalid token in a list", ["logits", MISSING, "--tokens", "1,x"], '"x" is not a token id'],
    ["logits with a token that is negative", ["logits", MISSING, "--tokens", "-1"], '"-1" is not a token id'],
    ["logits without a model", ["logits", "--tokens", "1"], "missing required argument"],
    ["perplexity without a file", ["perplexity", MISSING], "missing required argument"],
    ["detokenize with something that is not an id", ["detokenize", "-z", MISSING, "1,two"], '"two" is not a token id'],
    ["detokenize with an id that is negative", ["detokenize", "-z", MISSING, "--", "1,-2"], '"-2" is not a token id'],
  ])("%s", (_, args, part) => expectUsage(args, part));

  it("a file of tokens with an invalid token", async () => {
    const list = join(tempDir(), "tokens.txt");
    writeFileSync(list, "1 2\n3 x");
    await expectUsage(["logits", MISSING, "--tokens", list], '"x" is not a token id');
  });

  it("a token that the model does not have", async () => {
    await expectUsage(["detokenize", "2048"], "a token is 2048, expected a whole number from 0 to 2047");
  });
});

describe.concurrent("extreme values are accepted:", () => {
  const story = async (...args: string[]) => {
    const { code, stdout, stderr } = await llama2(["--json", "-n", "24", ...args]);
    expect(stderr).not.toContain("error");
    expect(code).toBe(0);
    return JSON.parse(stdout.toString()) as { tokens: number[]; seed: string };
  };

  it("a temperature so small that sampling is greedy", async () => {
    const greedy = await story("-t", "0", "-s", "1");
    expect(greedy.tokens.length).toBe(25);
    for (const t of shortOrLong(["1e-40", "1e-308"], ["1e-40", "1e-46", "1e-308"])) {
      expect((await story("-t", t, "-s", "1")).tokens, t).toEqual(greedy.tokens);
    }
  });

  it("a temperature so large that all tokens are equally likely, and none reaches top-p's cutoff", async () => {
    for (const args of [
      ["-t", "1e9", "-p", "0.001"],
      ["-t", "1e308", "-p", "1e-30"],
    ]) {
      const { tokens } = await story(...args, "-s", "1");
      expect(tokens.every((token) => Number.isInteger(token) && token >= 0 && token < 2048)).toBe(true);
    }
  });

  it("top-p 0 and 1, which switch it off", async () => {
    const off = await story("-p", "0", "-s", "7", "-t", "1.5");
    expect((await story("-p", "1", "-s", "7", "-t", "1.5")).tokens).toEqual(off.tokens);
    expect((await story("-p", "0.5", "-s", "7", "-t", "1.5")).tokens).not.toEqual(off.tokens);
  });

  it("seeds of 64 bits, exactly", async () => {
    const stories = await Promise.all(["9223372036854775808", "9223372036854775809"].map((s) => story("-s", s)));
    expect(stories.map(({ seed }) => seed)).toEqual(["9223372036854775808", "9223372036854775809"]);
    expect(stories[0].tokens).not.toEqual(stories[1].tokens);
  });

  it("negative seeds, which wrap as in C", async () => {
    for (const [negative, same] of [
      ["-1", "18446744073709551615"],
      ["-9223372036854775808", "9223372036854775808"],
    ]) {
      const wrapped = await story("-s", negative);
      expect(wrapped.seed).toBe(same);
      expect(wrapped.tokens).toEqual((await story("-s", same)).tokens);
    }
  });

  it("seed 0, which means the clock's seed; that is printed", async () => {
    const { code, stdout, stderr } = await llama2(["-n", "16", "-s", "0"]);
    const [, seed] = /^seed: (\d+)$/m.exec(stderr) ?? [];
    expect(Number(seed)).toBeGreaterThan(0);
    expect((await llama2(["-n", "16", "-s", seed])).stdout.toString()).toBe(stdout.toString());
    expect(code).toBe(0);
  });

  it("0 steps and more than the context, which both mean the context", async () => {
    const all = await story("-s", "3", "-n", "0", "--context", "40", "-t", "0");
    expect(all.tokens.length).toBeLessThanOrEqual(41);
    for (const n of ["41", "2147483647"]) {
      expect((await story("-s", "3", "-n", n, "--context", "40", "-t", "0")).tokens).toEqual(all.tokens);
    }
  });
});
