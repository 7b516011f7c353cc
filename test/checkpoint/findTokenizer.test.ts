import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findTokenizer, PACKAGE_MODELS } from "../../src/checkpoint/tokenizer/find.ts";
import { expectRejection } from "../helpers/errors.ts";
import { tempDir } from "../helpers/temp.ts";
import { tokenizerFile, vocabOf } from "../helpers/tokenizer.ts";

const VOCAB = 300;
const BUNDLED_VOCAB = 2048;

describe("the tokenizer of MODEL, whose vocabulary has 300 tokens,", () => {
  const start = process.cwd();
  let folder: string; // of the model
  let current: string; // the current folder
  let model: string;
  const put = (where: string, name: string, size = VOCAB) => tokenizerFile(vocabOf(size), name, where);
  const found = async (vocabSize = VOCAB) => (await findTokenizer(model, vocabSize)).path;

  beforeEach(() => {
    folder = tempDir();
    current = tempDir();
    process.chdir(current);
    model = join(folder, "stories.v2.bin");
  });
  afterEach(() => process.chdir(start));

  it("is STEM.tokenizer.bin beside it, in preference to all others", async () => {
    const own = put(folder, "stories.v2.tokenizer.bin");
    put(folder, "tokenizer.bin");
    put(folder, "tok300.bin");
    put(current, "tokenizer.bin");
    expect(await found()).toBe(own);
  });

  it("is refused where STEM.tokenizer.bin, which is named after MODEL, has another size, with both counts", async () => {
    const own = put(folder, "stories.v2.tokenizer.bin", 301);
    put(folder, "tokenizer.bin");
    await expectRejection(found(), "E_FORMAT", `${own} has 301 tokens`, "vocabulary has 300");
  });

  it("is STEM.tokenizer.bin also where MODEL does not end in .bin", async () => {
    model = join(folder, "stories");
    const own = put(folder, "stories.tokenizer.bin");
    expect(await found()).toBe(own);
  });

  it("is tokenizer.bin beside it, in preference to the current folder's and tok*.bin", async () => {
    const beside = put(folder, "tokenizer.bin");
    put(current, "tokenizer.bin");
    put(folder, "tok300.bin");
    expect(await found()).toBe(beside);
  });

  it("is tokenizer.bin of the current folder, in preference to tok*.bin beside it", async () => {
    put(current, "tokenizer.bin");
    put(folder, "tok300.bin");
    expect(await found()).toBe("tokenizer.bin");
  });

  it("is the one tok*.bin beside it that has its size", async () => {
    put(folder, "tok512.bin", 512);
    const fitting = put(folder, "tok300.bin");
    expect(await found()).toBe(fitting);
  });

  it("is the one tokenizer*.bin beside it that has its size", async () => {
    const fitting = put(folder, "tokenizer-small.bin");
    expect(await found()).toBe(fitting);
  });

  it("is the bundled one that has its size, when none beside it has", async () => {
    put(folder, "tok300.bin");
    expect(await found(BUNDLED_VOCAB)).toBe(join(PACKAGE_MODELS, "tok2048.bin"));
  });

  it("is never tok*.bin of the current folder", async () => {
    put(current, "tok300.bin");
    await expectRejection(found(), "E_FORMAT", "found no tokenizer");
  });

  it("is looked for elsewhere where tokenizer.bin has another size", async () => {
    put(folder, "tokenizer.bin", 512);
    put(current, "tokenizer.bin", 301);
    const fitting = put(folder, "tok300.bin");
    expect(await found()).toBe(fitting);
  });

  it("is never a file that is not a tokenizer, whatever its name", async () => {
    mkdirSync(join(folder, "tokenizer.bin"));
    writeFileSync(join(folder, "stories.v2.tokenizer.bin"), "");
    writeFileSync(join(folder, "tok1.bin"), "<html>");
    writeFileSync(join(folder, "tok2.bin"), "not a tokenizer, but long enough for one");
    put(folder, "mytok.bin");
    put(folder, "token.bin.bak");
    const fitting = put(folder, "tok300.bin");
    expect(await found()).toBe(fitting);
  });

  it("must be named when two in one place have its size; both are listed", async () => {
    const one = put(folder, "tok300.bin");
    const two = put(folder, "tokenizer-b.bin");
    put(folder, "tok512.bin", 512);
    await expectRejection(found(), "E_FORMAT", model, "vocabulary of 300", `${one}, ${two}. Choose one`);
  });

  it("must be named when none fits; the sizes found are listed", async () => {
    const beside = put(folder, "tokenizer.bin", 512);
    const other = put(folder, "tok299.bin", 299);
    await expectRejection(
      found(),
      "E_FORMAT",
      model,
      "vocabulary has 300 tokens",
      `${beside} has 512`,
      `${other} has 299`,
      `tok2048.bin has ${BUNDLED_VOCAB}`,
    );
  });

  it("must be named when the model's folder does not exist", async () => {
    model = join(folder, "nowhere", "model.bin");
    await expectRejection(found(), "E_FORMAT", "found no tokenizer", model);
  });
});
