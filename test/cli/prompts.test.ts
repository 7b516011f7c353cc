/*
 * Prompts that are odd or too long, for a model of 32 positions whose tokens are the bytes.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { makeCheckpoint } from "../helpers/checkpoint.ts";
import { llama2, type RunOptions } from "../helpers/cli.ts";
import { tempDir } from "../helpers/temp.ts";
import { tokenizerFile, vocabOf } from "../helpers/tokenizer.ts";

const SEQ_LEN = 32;
const folder = tempDir();
const model = join(folder, "model.bin");
writeFileSync(model, makeCheckpoint([16, 40, 2, 4, 4, 300, SEQ_LEN]));
tokenizerFile(vocabOf(300), "tokenizer.bin", folder);

/** BOS, a space, and the bytes. */
const tokensOf = (text: string | Uint8Array) => [1, 259, ...Array.from(Buffer.from(text), (byte) => byte + 3)];

async function storyOf(args: string[], options: RunOptions = {}) {
  const { code, stdout, stderr } = await llama2([model, "-t", "0", "-s", "1", "--json", ...args], options);
  expect(stderr).not.toMatch(/^ {4}at /m);
  const story = stdout.length > 0 ? (JSON.parse(stdout.toString()) as { tokens: number[]; text: string }) : undefined;
  return { code, stderr, tokens: story?.tokens ?? [], text: story?.text };
}

describe.concurrent("a prompt", () => {
  it("that is empty is BOS only", async () => {
    for (const args of [[], ["-i", ""]]) {
      const { code, tokens } = await storyOf(["-n", "4", ...args]);
      expect(tokens.slice(0, 1)).toEqual([1]);
      expect(tokens).toHaveLength(5);
      expect(code).toBe(0);
    }
  });

  it.each(["", "\n"])("from standard input that is %j is BOS only", async (stdin) => {
    expect((await storyOf(["-n", "4", "-i", "-"], { stdin })).tokens).toEqual((await storyOf(["-n", "4"])).tokens);
  });

  it("from standard input is read as bytes, also NUL and invalid UTF-8", async () => {
    const stdin = Buffer.from([0x61, 0x00, 0xff, 0xc3, 0x28, 0xf0, 0x9f, 0x0a, 0x0a]);
    const { code, tokens } = await storyOf(["-i", "-"], { stdin });
    const expected = tokensOf(stdin.subarray(0, -1));
    expect(tokens.slice(0, expected.length)).toEqual(expected);
    expect(code).toBe(0);
  });

  it("is printed again, with U+FFFD for invalid UTF-8", async () => {
    const { text } = await storyOf(["-i", "-"], { stdin: Buffer.from([0x61, 0x00, 0xff, 0xc3, 0xa9]) });
    expect(text).toMatch(/^a\0\ufffdé/);
  });

  it("a prompt exactly as long as the context is read, and one more token is generated", async () => {
    const prompt = "x".repeat(SEQ_LEN - 2);
    const { code, tokens, stderr } = await storyOf(["-n", "0", "-i", prompt]);
    expect(tokens.slice(0, SEQ_LEN)).toEqual(tokensOf(prompt));
    expect(tokens).toHaveLength(SEQ_LEN + 1);
    expect(stderr).not.toContain("cut");
    expect(code).toBe(0);
  });

  it("longer than the context is E_CONTEXT, with both lengths", async () => {
    const { code, tokens, stderr } = await storyOf(["-i", "x".repeat(SEQ_LEN - 1)]);
    expect(stderr).toContain(`there are ${SEQ_LEN + 1} tokens to read, and the context holds ${SEQ_LEN}`);
    expect(stderr).toContain("E_CONTEXT");
    expect(tokens).toEqual([]);
    expect(code).toBe(1);
  });

  it("longer than a capped context is E_CONTEXT", async () => {
    const { code, stderr } = await storyOf(["--context", "8", "-i", "12345678"]);
    expect(stderr).toContain("there are 10 tokens to read, and the context holds 8");
    expect(code).toBe(1);
  });

  it("longer than -n is cut, as in run.c, with a message", async () => {
    const prompt = "x".repeat(20);
    const { code, tokens, stderr } = await storyOf(["-n", "10", "-i", prompt]);
    expect(tokens).toEqual(tokensOf(prompt).slice(0, 11));
    expect(stderr).toContain("the prompt has 22 tokens and is cut at 10 positions (-n)");
    expect(code).toBe(0);
  });

  it("a prompt exactly as long as -n is not cut, and one more token is generated", async () => {
    const prompt = "x".repeat(8);
    const { tokens, stderr } = await storyOf(["-n", "10", "-i", prompt]);
    expect(tokens.slice(0, 10)).toEqual(tokensOf(prompt));
    expect(tokens).toHaveLength(11);
    expect(stderr).not.toContain("cut");
  });

  it("of 10 MB is E_CONTEXT", async () => {
    const { code, stderr } = await storyOf(["-i", "-"], { stdin: "Once upon a time ".repeat(620_000) });
    expect(stderr).toMatch(/there are at least \d+ tokens to read, and the context holds 32/);
    expect(stderr).toContain("E_CONTEXT");
    expect(code).toBe(1);
  });

  it("an endless standard input is E_LIMIT", async () => {
    const { code, stderr } = await storyOf(["-i", "-"], { stdin: Buffer.alloc((1 << 24) + 1, "x") });
    expect(stderr).toContain("standard input has more than 16777216 bytes");
    expect(stderr).toContain("E_LIMIT");
    expect(code).toBe(1);
  });
});
