import { closeSync, ftruncateSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkVocabSize } from "../../src/checkpoint/tokenizer/bin.ts";
import { readTokenizer } from "../../src/checkpoint/tokenizer/find.ts";
import { decode, encode, UNK } from "../../src/llama2/tokenizer.ts";
import { expectRefusal, thrown } from "../helpers/errors.ts";
import { frugally } from "../helpers/frugally.ts";
import { tempDir } from "../helpers/temp.ts";
import { BYTE_VOCAB, type Piece, tokenizerBytes, tokenizerFile, vocabOf } from "../helpers/tokenizer.ts";

function fileWith(bytes: Uint8Array): string {
  const path = join(tempDir(), "tokenizer.bin");
  writeFileSync(path, bytes);
  return path;
}

/** The text that `tokens` stand for, as a byte string. */
function decodeAll(path: string, tokens: number[]): string {
  const tokenizer = readTokenizer(path);
  return tokens.map((token, i) => decode(tokenizer, tokens[i - 1] ?? -1, token)).join("");
}

describe("a tokenizer file", () => {
  it("gives its pieces, bytes as they are, and their scores", () => {
    const pieces: Piece[] = [...BYTE_VOCAB, [" ", -0.5], ["\xc3\xa9", -3e38], ["ab\0c", 1e-45]];
    const tokenizer = readTokenizer(tokenizerFile(pieces));
    expect(tokenizer.vocabSize).toBe(pieces.length);
    expect(tokenizer.vocab).toEqual(pieces.map(([piece]) => piece));
    expect(tokenizer.vocabScores).toEqual(Float32Array.from(pieces, ([, score]) => score));
  });

  it("is refused when cut within a token, with the token and the byte", () => {
    const pieces = [...BYTE_VOCAB.slice(0, 6), ...[" ", "a", "\xc3\xa9", " a"].map((piece): Piece => [piece, 0])];
    const bytes = tokenizerBytes(pieces);
    const ends = new Set(pieces.map((_, i) => tokenizerBytes(pieces.slice(0, i)).length));
    const smallest = tokenizerBytes(pieces.slice(0, 3)).length;
    const path = join(tempDir(), "tokenizer.bin");
    for (let size = bytes.length - 1; size >= 0; size--) {
      if (ends.has(size) && size >= smallest) continue; // right, but for a smaller vocabulary
      writeFileSync(path, bytes.subarray(0, size));
      const { message } = thrown("E_FORMAT", () => readTokenizer(path));
      expect(message).toMatch(ends.has(size) || size < 4 ? `tokens in ${size} byte` : /token \d+.* byte \d+/);
    }
  });

  it.each([-1, -(2 ** 31), 2 ** 31 - 1])("is refused when a piece has the length %i", (length) => {
    const bytes = tokenizerBytes(vocabOf(262));
    const at = 4 + 8 + "<unk>".length + 4; // behind the score of token 1
    bytes.writeInt32LE(length, at);
    const path = fileWith(bytes);
    expectRefusal(
      () => frugally(() => readTokenizer(path)),
      "E_FORMAT",
      path,
      `token 1 at byte ${at} has the length ${length}`,
    );
  });

  it("that is too large for a tokenizer is refused before it is read", () => {
    const path = join(tempDir(), "tokenizer.bin");
    const fd = openSync(path, "w");
    ftruncateSync(fd, 2 ** 40);
    closeSync(fd);
    expectRefusal(
      () => frugally(() => readTokenizer(path)),
      "E_FORMAT",
      path,
      "1,099,511,627,776 bytes",
      "at most 16,777,216 bytes",
    );
  });

  it("of the largest size is read in two seconds", () => {
    const bytes = Buffer.alloc(1 << 24); // two million empty pieces
    const path = fileWith(bytes.subarray(0, bytes.length - 4));
    const tokenizer = frugally(() => readTokenizer(path), { cpuMs: 2000, bytes: 1 << 26 });
    expect(tokenizer.vocabSize).toBe(2 ** 21 - 1);
  });

  it.each([0, 1, 2 ** 31, 2 ** 32 - 1])("works when it says that its longest piece has %i bytes", (maxTokenLength) => {
    const path = fileWith(tokenizerBytes([...BYTE_VOCAB, [" ", 0], ["abcdefgh", 0]], maxTokenLength));
    expect(readTokenizer(path).maxTokenLength).toBe(8);
  });
});

describe("odd vocabularies", () => {
  it("with a piece twice give it its lowest token", () => {
    const tokenizer = readTokenizer(tokenizerFile([...BYTE_VOCAB, [" ", 0], ["a", 0], ["b", 0], ["a", 9], [" ", 9]]));
    expect(encode(tokenizer, "ab", true, false)).toEqual([1, 259, 260, 261]);
  });

  it("with an empty piece work", () => {
    const path = tokenizerFile([...BYTE_VOCAB, ["", 9], [" ", 0], ["a", 0], [" a", 0]]);
    expect(encode(readTokenizer(path), "a", true, true)).toEqual([1, 262, 2]);
    expect(decodeAll(path, [1, 259, 262])).toBe("\n<s>\n a");
  });

  it("with empty pieces only still have a token for each byte", () => {
    expect(
      readTokenizer(
        tokenizerFile([
          ["", 0],
          ["", 0],
          ["", 0],
        ]),
      ).maxTokenLength,
    ).toBe(1);
  });

  it("with a NUL in a piece work; the NUL is part of the piece", () => {
    const path = tokenizerFile([...BYTE_VOCAB, [" ", 0], ["a", 0], ["a\0", 5], ["\0", 0]]);
    const tokens = encode(readTokenizer(path), "aa\0", true, false);
    expect(tokens).toEqual([1, 259, 260, 261]);
    expect(decodeAll(path, tokens.slice(1))).toBe(" aa\0");
  });

  it("without a space begin a text with the unknown token", () => {
    const tokenizer = readTokenizer(tokenizerFile([...BYTE_VOCAB, ["a", 0]]));
    expect(encode(tokenizer, "a", true, false)).toEqual([1, UNK, 259]);
  });

  it("without byte tokens give the unknown token for missing characters", () => {
    const pieces: Piece[] = [...BYTE_VOCAB.slice(0, 3), [" ", 0], ["a", 0]];
    const tokenizer = readTokenizer(tokenizerFile(pieces));
    expect(encode(tokenizer, "a\xc3\xa9", true, true)).toEqual([1, 3, 4, UNK, UNK, 2]);
    const filled: Piece[] = [...pieces, ...vocabOf(600).slice(260)];
    expect(encode(readTokenizer(tokenizerFile(filled)), "\xff", false, false)).toEqual([3, UNK]);
  });

  it("with scores that are NaN never merge by them", () => {
    const scores = [NaN, -Infinity, -1e10];
    const pieces = scores.map((score, i): Piece => [`a${"bcd"[i]}`, score]);
    const tokenizer = readTokenizer(
      tokenizerFile([...BYTE_VOCAB, [" ", 0], ...[..."abcd"].map((c): Piece => [c, 0]), ...pieces]),
    );
    expect(encode(tokenizer, "abacad", false, false)).toEqual([259, 260, 261, 260, 262, 260, 263]);
  });
});

describe("a tokenizer for a vocabulary of another size", () => {
  const path = tokenizerFile(vocabOf(300));
  const tokenizer = readTokenizer(path);

  it("is refused when it is smaller, with both counts", () => {
    expectRefusal(() => checkVocabSize(tokenizer, path, 512), "E_FORMAT", path, "has 300 tokens", "vocabulary has 512");
  });

  it("is refused when it is larger, with both counts", () => {
    expectRefusal(() => checkVocabSize(tokenizer, path, 299), "E_FORMAT", path, "has 300 tokens", "vocabulary has 299");
  });

  it("is accepted when it has the right size", () => {
    expect(() => checkVocabSize(tokenizer, path, 300)).not.toThrow();
  });
});
