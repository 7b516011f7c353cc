import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openFile } from "../src/checkpoint/openFile.ts";
import { convert, loadModel, type Model, type Receipt, receiptsIn, verify } from "../src/index.ts";
import { loadTransformer } from "../src/llama2/weights.ts";
import { llama2 } from "./helpers/cli.ts";
import { logitsSha256, ROOT, sha256 } from "./helpers/golden.ts";
import { tempDir } from "./helpers/temp.ts";

const bundled = join(ROOT, "models", "stories2M.bin");

describe("a receipt", () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel();
  });
  afterAll(() => model.dispose());

  const receiptFor = async (prompt: string, options = {}, logits = false) => {
    const story = model.generate(prompt, options);
    await story.text();
    return { story, receipt: await model.receipt(story, { logits }) };
  };

  it("names what a text was generated from, with hashes that others can compute", async () => {
    const { readFileSync } = await import("node:fs");
    const { story, receipt } = await receiptFor("Once", { temperature: 0.8, topP: 0.9, seed: 3, maxTokens: 20 }, true);
    const reference = await loadTransformer(await openFile(bundled));
    expect(receipt).toEqual({
      receipt: 1,
      model: sha256(readFileSync(bundled)),
      tokenizer: sha256(readFileSync(join(ROOT, "models", "tok2048.bin"))),
      precision: "fp32",
      context: 512,
      promptTokens: [1, 463],
      seed: "3",
      temperature: 0.8,
      topP: 0.9,
      maxTokens: 20,
      stops: [1, 2],
      tokens: story.tokens,
      tokensSha256: sha256(new Uint8Array(Int32Array.from(story.tokens).buffer)),
      logitsSha256: logitsSha256(reference, story.tokens.slice(0, -1)),
      logitsRows: expect.any(Array),
    });
    expect(receipt.logitsRows?.length).toBe(story.tokens.length - 1);
  });

  it.each([
    ["one that ended with a stop token", "Lily", { seed: 1 }],
    ["one of a given length", "Once", { seed: 2, maxTokens: 30 }],
    ["one that a stop string ended", "Once", { seed: 2, stop: ". " }],
    [
      "one with all that the sampler has",
      "One",
      { seed: 5, topK: 30, minP: 0.01, repetitionPenalty: 1.1, maxTokens: 50 },
    ],
    ["the best of three", "Tom", { seed: 7, best: 3 }],
  ])("is verified: %s", async (_, prompt, options) => {
    const { receipt } = await receiptFor(prompt, options, true);
    const again = JSON.parse(JSON.stringify(receipt));
    expect(await verify(again, model)).toEqual({ same: true, tokens: receipt.tokens.length });
  });

  it("is verified on every exact backend", async () => {
    const { receipt } = await receiptFor("Lily", { seed: 1, maxTokens: 24 }, true);
    for (const backend of ["ts", "wasm"] as const) {
      const other = await loadModel(undefined, { backend, tokenizer: null });
      expect(await verify(receipt, other)).toEqual({ same: true, tokens: receipt.tokens.length });
      await other.dispose();
    }
  });

  it("is not verified if something in it is wrong, which is named", async () => {
    const { receipt } = await receiptFor("Once", { seed: 2, maxTokens: 40 }, true);
    const changed = (change: Partial<Receipt>) => verify({ ...receipt, ...change }, model);
    const tokens = [...receipt.tokens];
    tokens[7] = 5;
    expect(await changed({ tokens })).toMatchObject({
      same: false,
      firstDifference: { position: 7, what: "token", expected: 5, got: receipt.tokens[7] },
    });
    const shorter = receipt.tokens.slice(0, -1);
    expect((await changed({ tokens: shorter })).firstDifference).toMatchObject({
      position: shorter.length,
      expected: null,
    });
    expect((await changed({ seed: "3" })).same).toBe(false);
    expect((await changed({ tokensSha256: "0".repeat(64) })).firstDifference?.what).toBe("tokensSha256");
    const logitsRows = [...(receipt.logitsRows ?? [])];
    logitsRows[4] = "0".repeat(16);
    expect((await changed({ logitsRows })).firstDifference).toMatchObject({ position: 4, what: "logits" });
    expect((await changed({ logitsSha256: "0".repeat(64) })).firstDifference?.what).toBe("logitsSha256");
  });

  it("with an invalid field is refused, and the field named", async () => {
    const { receipt } = await receiptFor("Once", { seed: 2, maxTokens: 2 });
    for (const change of [
      { receipt: 2 },
      { model: "x" },
      { seed: 3 },
      { seed: "0" },
      { tokens: [1.5] },
      { tokens: "1" },
      { promptTokens: [] },
      { topP: 2 },
      { stops: [-1] },
      { logitsRows: ["x"] },
    ]) {
      const [field] = Object.keys(change);
      const broken = { ...receipt, ...change } as Receipt;
      await expect(verify(broken, model)).rejects.toMatchObject({
        code: "E_FORMAT",
        message: expect.stringContaining(field),
      });
    }
    await expect(verify(null as never, model)).rejects.toMatchObject({ code: "E_FORMAT" });
    await expect(verify({ ...receipt, promptTokens: [5000] }, model)).rejects.toMatchObject({ code: "E_USAGE" });
  });

  it("does not exist before the text is finished", async () => {
    const story = model.generate("Once");
    await expect(model.receipt(story)).rejects.toMatchObject({ code: "E_USAGE" });
  });

  it("of a model of several files hashes them by name", async () => {
    const { readFileSync } = await import("node:fs");
    const folder = join(tempDir(), "hf");
    await convert(bundled, folder, { to: "safetensors" });
    const own = await loadModel(folder);
    const { model: hash } = await own.hashes();
    await own.dispose();
    const lines = ["config.json", "model.safetensors"].map(
      (name) => `${name} ${sha256(readFileSync(join(folder, name)))}\n`,
    );
    expect(hash).toBe(sha256(lines.join("")));
  });
});

describe("llama2 --receipt and llama2 verify", () => {
  const receiptOf = async (...flags: string[]) => {
    const { stdout, code, stderr } = await llama2(["-s", "3", "-n", "24", "--json", "--quiet", ...flags]);
    expect({ code }, stderr).toEqual({ code: 0 });
    return stdout.toString();
  };

  it("a story's JSON has one, which is verified from a file and from a pipe, as words and as JSON", async () => {
    const json = await receiptOf("--receipt");
    expect(receiptsIn(JSON.parse(json)).length).toBe(1);
    const file = join(tempDir(), "story.json");
    writeFileSync(file, json);
    expect(await llama2(["verify", file])).toMatchObject({ code: 0, stderr: "" });
    const piped = await llama2(["verify", "-", "--backend", "wasm"], { stdin: json });
    expect(piped.stdout.toString()).toMatch(/^the same, bit for bit: \d+ tokens\n$/);
    const { stdout } = await llama2(["verify", "--json", file]);
    expect(JSON.parse(stdout.toString())).toEqual({ same: true, tokens: JSON.parse(json).tokens.length });
  });

  it("each of several stories has its own; logits are verified as well, also of int8", async () => {
    const json = await receiptOf("--receipt=logits", "-N", "3", "--int8");
    const receipts = json
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).receipt as Receipt);
    expect(receipts.map(({ seed, precision }) => [seed, precision])).toEqual([
      ["3", "int8"],
      ["4", "int8"],
      ["5", "int8"],
    ]);
    expect(receipts.every(({ logitsRows }) => (logitsRows?.length ?? 0) > 20)).toBe(true);
    const { code, stdout } = await llama2(["verify", "-"], { stdin: json });
    expect({ code, lines: stdout.toString().trimEnd().split("\n").length }).toEqual({ code: 0, lines: 3 });
  });

  it("differences are printed, with exit code 1", async () => {
    const json = (await receiptOf("--receipt")).replace(/"seed":"3"/g, '"seed":"4"');
    const { code, stdout } = await llama2(["verify", "-"], { stdin: json });
    expect(code).toBe(1);
    expect(stdout.toString()).toMatch(/^differs at position \d+: token \d+ in the receipt, \d+ here\n$/);
  });

  it("another model is refused by its hash, with exit code 1", async () => {
    const other = join(tempDir(), "other.bin");
    await llama2(["quantize", bundled, other]);
    const { code, stderr } = await llama2(["verify", "-", other], { stdin: await receiptOf("--receipt") });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^llama2: the receipt is of the model [0-9a-f]{64}, and .*other.bin is another one/);
    const copy = join(tempDir(), "copy.bin");
    copyFileSync(bundled, copy);
    expect((await llama2(["verify", "-", copy], { stdin: await receiptOf("--receipt") })).code).toBe(0);
  });

  it("finds a model that was pulled by its hash", async () => {
    const HF_HUB_CACHE = tempDir();
    const commit = "0123456789abcdef0123456789abcdef01234567";
    const repository = join(HF_HUB_CACHE, "models--a--b");
    const snapshot = join(repository, "snapshots", commit);
    mkdirSync(snapshot, { recursive: true });
    mkdirSync(join(repository, "refs"));
    writeFileSync(join(repository, "refs", "main"), commit);
    const pulled = join(snapshot, "small.bin");
    await llama2(["quantize", bundled, pulled]);
    const tokenizer = join(ROOT, "models", "tok2048.bin");
    const printed = await llama2([pulled, "-z", tokenizer, "-s", "3", "-n", "12", "--json", "--receipt"]);
    const stdin = printed.stdout.toString();
    const { code, stdout, stderr } = await llama2(["verify", "-"], { stdin, env: { HF_HUB_CACHE } });
    expect({ code, stdout: stdout.toString() }, stderr).toEqual({
      code: 0,
      stdout: "the same, bit for bit: 13 tokens\n",
    });
    const missing = await llama2(["verify", "-"], { stdin, env: { HF_HUB_CACHE: tempDir() } });
    expect(missing.code).toBe(1);
    expect(missing.stderr).toContain("none of those here is that one");
  });

  it("an invalid receipt exits with 1, a backend that is not exact with 2", async () => {
    const { code, stderr } = await llama2(["verify", "-"], { stdin: '{"receipt": 2}' });
    expect({ code, stderr: stderr.split(":")[1] }).toEqual({ code: 1, stderr: " standard input has no receipt in it" });
    expect((await llama2(["verify", "-", "--backend", "cuda"], { stdin: "{}" })).code).toBe(2);
    expect((await llama2(["--receipt"])).stderr).toContain("--receipt goes with --json");
  });
});

describe("llama2 --logprobs", () => {
  it("adds log-probabilities of each token to the JSON", async () => {
    const { stdout } = await llama2(["-s", "3", "-n", "8", "--json", "--logprobs", "2", "-i", "Once upon"]);
    const { logprobs, tokens, promptTokens } = JSON.parse(stdout.toString());
    expect(logprobs.map(({ id }: { id: number }) => id)).toEqual(tokens.slice(promptTokens));
    const { piece, logprob, rank, nucleus, coin, top } = logprobs[0];
    expect([typeof piece, typeof logprob, typeof rank, typeof nucleus, typeof coin]).toEqual([
      "string",
      "number",
      "number",
      "number",
      "number",
    ]);
    expect(top.map((other: object) => Object.keys(other))).toEqual([
      ["id", "piece", "logprob"],
      ["id", "piece", "logprob"],
    ]);
  });

  it("without --json prints a table, with a line for each new token", async () => {
    const { stdout } = await llama2(["-t", "0", "-s", "3", "-n", "8", "--logprobs", "2", "-i", "Once upon a time"]);
    const lines = stdout.toString().trimEnd().split("\n");
    expect(lines[0]).toMatch(/^position +token +share +rank +among +coin +likeliest$/);
    expect(lines.slice(1).length).toBe(4);
    expect(lines[1]).toMatch(/^ +5 +"," +\d+\.\d% +0 +1 +"," \d+\.\d% {2}" \w+" \d+\.\d%$/);
  });
});
