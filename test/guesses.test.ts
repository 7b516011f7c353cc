/*
 * The table of guesses that a model loads: beside it, named, or none.
 */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import type { Generation } from "../src/generation.ts";
import { guessPath, readGuesses } from "../src/guesses.ts";
import { BUNDLED_MODEL, loadModel } from "../src/loadModel.ts";
import type { LoadOptions } from "../src/loadOptions.ts";
import { guessFileOf } from "../src/run/guessFile.ts";
import { rejected } from "./helpers/errors.ts";
import { ROOT, sha256 } from "./helpers/golden.ts";
import { tempDir } from "./helpers/temp.ts";

const TOKENIZER = join(ROOT, "models", "tok2048.bin");
const folder = tempDir();
const model = join(folder, "some.bin");
const named = join(folder, "named");
const good = guessFileOf(
  { longest: 1, entries: Int32Array.of(1, 1, 5, 9) },
  { vocabSize: 2048, tokenizer: sha256(readFileSync(TOKENIZER)) },
);
const truncated = good.subarray(0, 60);
const foreign = guessFileOf(
  { longest: 1, entries: new Int32Array(0) },
  { vocabSize: 2048, tokenizer: sha256("another") },
);

/** Load the model, and tell what it has to say. */
async function notes(options: LoadOptions = {}): Promise<readonly string[]> {
  await using loaded = await loadModel(model, { backend: "ts", ...options });
  return loaded.notes;
}

/** A story of the bundled model. */
async function generated(options: LoadOptions): Promise<Generation> {
  await using bundled = await loadModel(undefined, { backend: "wasm", ...options });
  const generation = bundled.generate("", { seed: 5, maxTokens: 100 });
  await generation.text();
  return generation;
}

describe("guessing", () => {
  it("begins by itself once a model has been at work for a while", async () => {
    await using bundled = await loadModel(undefined, { threads: 1 });
    let guessed = 0;
    for (let seed = 1; seed <= 200 && guessed === 0; seed++) {
      const generation = bundled.generate("", { seed, temperature: 1 });
      await generation.text();
      if (seed === 1) expect(generation.lookahead).toMatchObject({ guessed: 0 });
      guessed += generation.lookahead?.guessed ?? 0;
    }
    expect(guessed).toBeGreaterThan(0);
  });
});

describe("the guesses of a model", () => {
  beforeAll(() => {
    copyFileSync(BUNDLED_MODEL, model);
    mkdirSync(named);
    for (const [name, bytes] of Object.entries({ good, truncated, foreign })) {
      writeFileSync(join(named, `${name}.guesses`), bytes);
    }
  });
  const beside = (name: string) => copyFileSync(join(named, `${name}.guesses`), join(folder, "some.guesses"));

  it("are looked for beside it", () => {
    expect(guessPath("/a/b.c/model.bin")).toBe("/a/b.c/model.guesses");
    expect(guessPath("/a/b.c/model")).toBe("/a/b.c/model.guesses");
    expect(guessPath("model.v1.safetensors")).toBe("model.v1.guesses");
  });

  it("of the bundled model fit it, and are those described in its card", async () => {
    const path = guessPath(BUNDLED_MODEL);
    const bytes = readFileSync(path);
    expect(bytes.length).toBeLessThanOrEqual(450_000);
    const { entries } = readGuesses(path, { vocabSize: 2048, tokenizer: sha256(readFileSync(TOKENIZER)) });
    const card = readFileSync(join(ROOT, "models", "README.md"), "utf8");
    expect(card).toContain(`${bytes.length.toLocaleString("en-US")} bytes, sha256 \`${sha256(bytes)}\``);
    expect(card).toContain(`${(entries.length / 4).toLocaleString("en-US")} contexts`);
    const { lookahead, promptTokens, tokens } = await generated({ lookahead: 3 });
    expect(lookahead?.tokensPerPass).toBeGreaterThan(1.4);
    expect(lookahead?.accepted).toBeLessThan(tokens.length - promptTokens.length);
    expect((await generated({ lookahead: "off" })).lookahead).toBeUndefined();
    expect((await generated({ lookahead: 3, guesses: null })).lookahead?.tokensPerPass).toBeLessThan(1.4);
  });

  it("need no message when they fit, or when there are none", async () => {
    expect(await notes()).toEqual([]);
    beside("good");
    expect(await notes()).toEqual([]);
    expect(await notes({ tokenizer: null })).toEqual([]);
  });

  it("are ignored with a message when they are broken or another model's", async () => {
    const path = join(folder, "some.guesses");
    beside("truncated");
    expect(await notes()).toEqual([expect.stringContaining(`without its guesses: ${path} is not a table of guesses`)]);
    beside("foreign");
    expect(await notes()).toEqual([expect.stringContaining("it is for another tokenizer")]);
    expect(await notes({ tokenizer: null })).toEqual([]);
    expect(await notes({ lookahead: "off" })).toEqual([]);
    expect(await notes({ guesses: null })).toEqual([]);
    expect(await notes({ guesses: join(named, "good.guesses") })).toEqual([]);
  });

  it("must be valid when they are named", async () => {
    const refused = (name: string) => rejected("E_FORMAT", notes({ guesses: join(named, `${name}.guesses`) }));
    expect((await refused("truncated")).message).toContain("truncated.guesses is not a table of guesses");
    expect((await refused("foreign")).message).toContain("foreign.guesses");
    await rejected("E_FORMAT", notes({ guesses: pathToFileURL(named) }));
    await rejected("E_FILE", notes({ guesses: join(named, "missing.guesses") }));
  });
});
