import { pathToFileURL } from "node:url";
import { expect, it } from "vitest";
import { loadTokenizer } from "../src/tokens.ts";
import { rejected, thrown } from "./helpers/errors.ts";
import { tokenizerFile, vocabOf } from "./helpers/tokenizer.ts";

it("text is encoded and decoded again, also bytes that are not UTF-8", async () => {
  const tokenizer = await loadTokenizer();
  const tokens = tokenizer.encode("Once upon a time");
  expect(tokens).toEqual([1, 463, 477, 261, 418]);
  expect(tokenizer.decode(tokens)).toBe("Once upon a time");
  expect(tokenizer.encode("Once", { bos: false, eos: true })).toEqual([463, 2]);
  expect(tokenizer.decode(tokenizer.encode(Uint8Array.of(0x61, 0xff)))).toBe("a\ufffd");
  expect([463, 13].map((token) => tokenizer.piece(token))).toEqual([" Once", "<0x0A>"]);
});

it("a tokenizer can be named by a path or a file: URL", async () => {
  const path = tokenizerFile(vocabOf(300));
  for (const name of [path, pathToFileURL(path)]) expect((await loadTokenizer(name)).vocabSize).toBe(300);
});

it("invalid arguments are E_USAGE", async () => {
  const tokenizer = await loadTokenizer();
  for (const token of [-1, 2048, 1.5, NaN]) thrown("E_USAGE", () => tokenizer.decode([token]));
  thrown("E_USAGE", () => tokenizer.piece(2048));
  thrown("E_USAGE", () => tokenizer.encode(null as unknown as string));
  expect(thrown("E_USAGE", () => tokenizer.encode("", { boss: true } as object)).message).toContain('"bos"');
  await rejected("E_USAGE", loadTokenizer(null as unknown as string));
});
