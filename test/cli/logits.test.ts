import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";
import { llama2 } from "../helpers/cli.ts";
import { type ForcedLogits, forcedTokens, golden, ROOT, sha256 } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

const bundled = join(ROOT, "models", "stories2M.bin");

describe("logits", () => {
  const { forced } = golden<{ forced: ForcedLogits }>("bundled-model.json");
  const list = forcedTokens(forced).join(" ");

  it.each([[[]], [["--prefill"]]])("are run.c's bytes, with %j", async (flags) => {
    const { code, stdout } = await llama2(["logits", bundled, "--tokens", list, ...flags]);
    expect({ code, bytes: stdout.length }).toEqual({ code: 0, bytes: 4 * 2048 * forced.positions });
    expect(sha256(stdout)).toBe(forced.sha256);
  });

  it("takes the tokens from a file, and needs no tokenizer", async () => {
    const tokens = join(tempDir(), "tokens.txt");
    writeFileSync(tokens, "1,5\n7\n");
    const model = checkpointFile(SHAPES.tiny);
    const { stdout } = await llama2(["logits", model, "--tokens", tokens]);
    expect(stdout).toEqual((await llama2(["logits", model, "--tokens", "1 5 7"])).stdout);
    expect(stdout.length).toBe(4 * 300 * 3);
  });

  it("accepts a file of any name", async () => {
    const cwd = tempDir();
    writeFileSync(join(cwd, "1 x"), "1 5 7");
    const { code, stdout } = await llama2(["logits", checkpointFile(SHAPES.tiny), "--tokens", "1 x"], { cwd });
    expect({ code, bytes: stdout.length }).toEqual({ code: 0, bytes: 4 * 300 * 3 });
  });

  it("with --top prints the most probable words after each token, with their probabilities", async () => {
    const { stdout } = await llama2(["logits", bundled, "--tokens", "1 463 477 261 418", "--top", "3"]);
    const lines = stdout.toString().trimEnd().split("\n");
    expect(lines.length).toBe(5 * 4);
    expect(lines[16]).toBe('position 4, after 418 " time":');
    expect(lines[17]).toMatch(/^ +\d+\.\d\d% +\d+ {2}","$/);
    const shares = lines.slice(17).map((line) => Number.parseFloat(line));
    expect(shares).toEqual([...shares].sort((a, b) => b - a));
    expect(shares[0]).toBeGreaterThan(50);
  });

  it("refuses more tokens than the context holds: E_CONTEXT", async () => {
    const model = checkpointFile(SHAPES.tiny);
    const { code, stderr } = await llama2(["logits", model, "--tokens", new Array(33).fill(1).join(",")]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/33 tokens.*32.*\(E_CONTEXT\)/);
  });

  it.each(["300", "x", ""])("refuses the token %j with 2", async (tokens) => {
    const { code } = await llama2(["logits", checkpointFile(SHAPES.tiny), "--tokens", tokens], { cwd: tempDir() });
    expect(code).toBe(tokens === "x" ? 1 : 2); // "x" could be a file
  });
});
