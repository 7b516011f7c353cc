import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { readTokenizer } from "../../src/checkpoint/tokenizer/find.ts";
import { chat, renderPrompt } from "../../src/llama2/chat.ts";
import { buildSampler } from "../../src/llama2/sampler.ts";
import { loadTransformer } from "../../src/llama2/weights.ts";
import { makeCheckpoint } from "../helpers/checkpoint.ts";
import { golden, sha256 } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";
import { tokenizerFile, vocabOf } from "../helpers/tokenizer.ts";

interface ChatCase {
  title: string;
  stdin: string; // byte strings
  user?: string;
  system?: string;
  temperature: number;
  topp: number;
  seed: number;
  steps: number;
  sha256: string;
}

describe("a conversation is run.c's, byte for byte", async () => {
  const folder = tempDir();
  const model = join(folder, "model.bin");
  writeFileSync(model, makeCheckpoint([16, 40, 2, 4, 4, 300, 1000]));
  const transformer = await loadTransformer(await openFile(model));
  const tokenizer = readTokenizer(tokenizerFile(vocabOf(300), "tokenizer.bin", folder));

  it.each(golden<{ cases: ChatCase[] }>("chat.json").cases)("$title", (c) => {
    const sampler = buildSampler(300, c.temperature, c.topp, BigInt(c.seed));
    const lines = c.stdin.split("\n").slice(0, -1);
    let out = "";
    const print = (text: string) => {
      out += text;
    };
    const readStdin = (guide: string, previous: string) => {
      print(guide);
      return lines.shift() ?? previous;
    };
    chat(transformer, tokenizer, sampler, c.user, c.system, c.steps || 1000, print, readStdin);
    expect(sha256(Buffer.from(`${out}\n`, "latin1"))).toBe(c.sha256);
  });
});

describe("renderPrompt", () => {
  it("wraps a user's text as Llama 2's chat models expect it", () => {
    expect(renderPrompt("Hi!")).toBe("[INST] Hi! [/INST]");
  });

  it("puts a system prompt before the user's text", () => {
    expect(renderPrompt("Hi!", "Be kind.")).toBe("[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi! [/INST]");
  });
});
