/*
 * Broken models and texts on the command line: one line that says what is wrong, and exit code 1.
 */
import { execFile } from "node:child_process";
import { closeSync, existsSync, ftruncateSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { makeCheckpoint } from "../helpers/checkpoint.ts";
import { llama2, MAIN } from "../helpers/cli.ts";
import { shortOrLong } from "../helpers/full.ts";
import { type Fields, sparseFile } from "../helpers/sparse.ts";
import { tempDir } from "../helpers/temp.ts";
import { tokenizerFile, vocabOf } from "../helpers/tokenizer.ts";

const DIM = 16;
const VOCAB = 300;
const SHAPE = [DIM, 40, 2, 4, 4, VOCAB, 32] as const;
const HEADER_BYTES = 28;

/** A model, with a tokenizer beside it, one of whose weights is `value`. */
function modelWith(value: number, at: number): string {
  const folder = tempDir();
  const path = join(folder, "model.bin");
  const bytes = Buffer.from(makeCheckpoint(SHAPE, { untied: true }));
  bytes.writeFloatLE(value, HEADER_BYTES + 4 * at);
  writeFileSync(path, bytes);
  tokenizerFile(vocabOf(VOCAB), "tokenizer.bin", folder);
  return path;
}

/** The embedding of the letter x, whose token is its byte + 3. */
const X = "x".charCodeAt(0) + 3;
const EMBEDDING_OF_X = X * DIM;
const FINAL_NORM = VOCAB * DIM + 2 * (2 * DIM + 4 * DIM * DIM + 3 * DIM * 40);

async function expectError(args: string[], code: string, ...parts: (string | RegExp)[]): Promise<Buffer> {
  const ended = await llama2(args);
  for (const part of parts) expect(ended.stderr).toMatch(part);
  expect(ended.stderr).toMatch(`(${code})`);
  expect(ended.stderr).not.toMatch(/^ {4}at /m); // no stack of a bug
  expect(ended.code).toBe(1);
  return ended.stdout;
}

describe.concurrent.each(shortOrLong([NaN, -Infinity], [NaN, Infinity, -Infinity]))("a weight that is %f", (value) => {
  it("is E_NUMERIC with the position of the first token affected, after the logits of those before it", async () => {
    const model = modelWith(value, EMBEDDING_OF_X);
    const stdout = await expectError(["logits", model, "--tokens", `1 5 9 ${X} 7`], "E_NUMERIC", "after position 3");
    expect(stdout.length).toBe(3 * VOCAB * 4);
    const good = await llama2(["logits", model, "--tokens", "1 5 9 7"]);
    expect(good.code).toBe(0);
    expect(stdout.equals(good.stdout.subarray(0, stdout.length))).toBe(true);
  });

  it("is E_NUMERIC at position 0 when it affects all", async () => {
    const model = modelWith(value, FINAL_NORM);
    await expectError(["logits", model, "--tokens", "1 5"], "E_NUMERIC", "after position 0");
    await expectError([model, "-s", "1"], "E_NUMERIC", "after position 0");
  });

  it("is E_NUMERIC in a story, also a greedy one, with the last position of the prompt", async () => {
    const model = modelWith(value, EMBEDDING_OF_X);
    for (const t of ["0", "1"]) {
      await expectError([model, "-t", t, "-s", "1", "-i", "abx"], "E_NUMERIC", "after position 4", "weights are NaN");
    }
  });

  it("is E_NUMERIC in perplexity", async () => {
    const text = join(tempDir(), "text.txt");
    writeFileSync(text, "abxab");
    await expectError(["perplexity", modelWith(value, EMBEDDING_OF_X), text], "E_NUMERIC", "after position 4");
  });
});

describe.concurrent("a model", () => {
  it("of 2^30 positions is E_LIMIT, which names the way out", async () => {
    const model = sparseFile([2, 1, 1, 1, 1, 4, 2 ** 30]);
    await expectError(["logits", model, "--tokens", "1"], "E_LIMIT", "--context 4096");
    const { code, stdout } = await llama2(["logits", model, "--tokens", "1", "--context", "4096"]);
    expect(code).toBe(0);
    expect(stdout.length).toBe(4 * 4);
  });

  it.skipIf(process.platform !== "linux")("for which no memory is free is E_LIMIT", async () => {
    const large: Fields = [64, 1, 1, 1, 1, 4, 2 ** 23]; // 2 GiB of keys, 2 GiB of values
    const logits = `"${process.execPath}" "${MAIN}" logits "${sparseFile(large)}" --tokens 1 --backend ts`;
    const stderr = await new Promise<string>((resolve) => {
      execFile("sh", ["-c", `ulimit -v 4000000; exec ${logits}`], (_, __, stderr) => resolve(stderr));
    });
    expect(stderr).toMatch(/^llama2: .*--context.*\(E_LIMIT\)\n$/);
  });

  it("that is cut short is E_FORMAT", async () => {
    const model = join(tempDir(), "model.bin");
    writeFileSync(model, makeCheckpoint(SHAPE).subarray(0, -1));
    await expectError([model], "E_FORMAT", model, "cut short");
  });

  it("that does not exist is E_FILE, with what can be done", async () => {
    const missing = "stories.bin";
    for (const args of [[missing], ["inspect", missing], ["quantize", missing, "a"], ["convert", missing, "a"]]) {
      await expectError(args, "E_FILE", "cannot open stories.bin", "All commands: ");
    }
  });

  it("a tokenizer that does not exist is E_FILE, without advice about models", async () => {
    const ended = await llama2([modelWith(0, 0), "-z", "tokens.bin"]);
    expect(ended).toMatchObject({
      code: 1,
      stderr: "llama2: cannot open tokens.bin: there is no such file (E_FILE)\n",
    });
  });

  it("a model without a tokenizer is E_FORMAT, with the flag that names one", async () => {
    const model = join(tempDir(), "model.bin");
    writeFileSync(model, makeCheckpoint(SHAPE));
    await expectError([model], "E_FORMAT", "found no tokenizer", /: -z FILE \(E_FORMAT\)$/m);
  });

  it("whose tokenizer is another's is E_FORMAT, with both counts", async () => {
    const tokenizer = tokenizerFile(vocabOf(VOCAB + 1));
    await expectError([modelWith(0, 0), "-z", tokenizer], "E_FORMAT", tokenizer, "301 tokens", "vocabulary has 300");
  });
});

it.skipIf(!existsSync("/dev/full"))("output that finds no room is E_FILE", async () => {
  const command = (args: string) => `"${process.execPath}" "${MAIN}" ${args} > /dev/full`;
  for (const args of ["-s 1 -n 20", "tokenize hi", `logits ${modelWith(0, 0)} --tokens 1`]) {
    const ended = await new Promise((resolve) => {
      execFile("sh", ["-c", command(args)], (error, _, stderr) => resolve({ code: error?.code, stderr }));
    });
    expect(ended).toEqual({ code: 1, stderr: "llama2: cannot write the output: the disk is full (E_FILE)\n" });
  }
});

describe.concurrent("a text to be measured", () => {
  const sized = (bytes: number) => {
    const path = join(tempDir(), "text.txt");
    const fd = openSync(path, "w");
    ftruncateSync(fd, bytes);
    closeSync(fd);
    return path;
  };

  it("that is a directory is E_FORMAT", async () => {
    const path = tempDir();
    await expectError(["perplexity", "missing.bin", path], "E_FORMAT", `${path} is a directory`);
  });

  it("that is larger than texts are is E_LIMIT, before it is read", async () => {
    const path = sized(2 ** 33);
    await expectError(["perplexity", "missing.bin", path], "E_LIMIT", path, "8,589,934,592 bytes", "268,435,456");
  });

  it("that has a document too long to be encoded is E_LIMIT", async () => {
    const path = sized(2 ** 24 + 1);
    await expectError(["perplexity", "missing.bin", path], "E_LIMIT", "document 1", "16,777,217 bytes", "<|end|>");
  });
});
