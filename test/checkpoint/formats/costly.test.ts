/*
 * Small or valid-looking tokenizers that would take minutes, or gigabytes.
 */
import { describe, expect, it } from "vitest";
import { parseSentencePiece } from "../../../src/checkpoint/tokenizer/sentencepiece.ts";
import { parseTokenizerJson } from "../../../src/checkpoint/tokenizer/tokenizerJson.ts";
import { encode } from "../../../src/encode.ts";
import { thrown } from "../../helpers/errors.ts";
import {
  message,
  type PieceToWrite,
  SPECIAL,
  sentencePieceBytes,
  tokenizerJson,
} from "../../helpers/formats/sentencepiece.ts";
import { frugally } from "../../helpers/frugally.ts";

const parse = (bytes: Uint8Array) => parseSentencePiece(bytes, "tokenizer.model");
/** How much a file of 16 MiB may make of itself. */
const LIMITS = { cpuMs: 3000, bytes: 64 << 20 };

describe("a tokenizer.model", () => {
  it("of millions of empty pieces is refused", () => {
    const empty = message([[1, message([[1, ""]])]]);
    const bytes = Buffer.concat([sentencePieceBytes(SPECIAL), Buffer.alloc(empty.length * 3_000_000, empty)]);
    expect(frugally(() => thrown("E_LIMIT", () => parse(bytes)), LIMITS).message).toMatch(/more than 300000 pieces/);
  });

  it("with many user-defined pieces finds them as fast as with a few", () => {
    const own = Array.from({ length: 50_000 }, (_, i): PieceToWrite => ({ text: `user${i}!`, type: 4 }));
    const tokenizer = frugally(() => parse(sentencePieceBytes([...SPECIAL, ...own])), LIMITS);
    const tokens = frugally(() => encode(tokenizer, "user7!user49999!".repeat(1000), false, false));
    expect(tokens.filter((token) => token >= SPECIAL.length).slice(0, 2)).toEqual([
      SPECIAL.length + 7,
      SPECIAL.length + 49_999,
    ]);
  });

  it("finds the longest of the user-defined pieces that begin at one place", () => {
    const own = ["a", "ab", "abc", "b"].map((text): PieceToWrite => ({ text, type: 4 }));
    const tokenizer = parse(sentencePieceBytes([...SPECIAL, ...own, { text: "\u2581" }]));
    const first = SPECIAL.length;
    expect(encode(tokenizer, "abcaabb", false, false).slice(1)).toEqual([first + 2, first, first + 1, first + 3]);
  });

  it("with a rule that turns one letter into a long text is refused", () => {
    const trie = new Uint32Array(512);
    trie[0] = 256 << 10;
    trie[256 ^ 98] = 98 | (1 << 8) | (1 << 10);
    trie[256 ^ 98 ^ 1] = 0x80000000;
    const size = Buffer.alloc(4);
    size.writeUInt32LE(trie.byteLength);
    const rules = Buffer.concat([size, Buffer.from(trie.buffer), Buffer.alloc(100_000, 97), Buffer.from([0])]);
    const bytes = sentencePieceBytes(SPECIAL, [[2, rules]]);
    expect(thrown("E_FORMAT", () => parse(bytes)).message).toMatch(/writes more than 256 bytes/);
  });

  it("with rules that chain takes no more time per letter of a text", () => {
    // each letter leads to the place of the same letter, so that a key has no end
    const trie = new Uint32Array(512);
    trie[0] = 256 << 10;
    trie[256 ^ 98] = 98 | ((98 ^ 0) << 10);
    const size = Buffer.alloc(4);
    size.writeUInt32LE(trie.byteLength);
    const rules = Buffer.concat([size, Buffer.from(trie.buffer), Buffer.from("x\0")]);
    const { prepare } = parse(sentencePieceBytes(SPECIAL, [[2, rules]]));
    frugally(() => prepare?.("b".repeat(100_000)), { cpuMs: 2000, bytes: 64 << 20 });
  });
});

describe("a tokenizer.json", () => {
  it("with long pieces that could be split in very many ways is refused", () => {
    const parts = Array.from({ length: 200 }, (_, i) => String.fromCharCode(0x100 + i) + "x".repeat(31));
    const joined = parts.flatMap((left) => parts.map((right) => left + right));
    const pieces = [...SPECIAL, ...parts.map((text) => ({ text, score: -1e9 }))];
    const json = tokenizerJson(pieces) as { model: { vocab: Record<string, number>; merges: string[] } };
    for (const text of joined) json.model.vocab[text] = pieces.push({ text, score: 0 }) - 1;
    json.model.merges = parts.flatMap((left) => parts.map((right) => `${left} ${right}`));
    const bytes = Buffer.from(JSON.stringify(json));
    const { message: why } = frugally(() => thrown("E_FORMAT", () => parseTokenizerJson(bytes, "t.json")), LIMITS);
    expect(why).toMatch(/taken apart in 2520000 ways/);
  });

  it("with a piece of 65 letters is refused", () => {
    const json = tokenizerJson([...SPECIAL, { text: "a" }, { text: "a".repeat(64) }, { text: "a".repeat(65) }]);
    const bytes = Buffer.from(JSON.stringify(json));
    expect(thrown("E_FORMAT", () => parseTokenizerJson(bytes, "t.json")).message).toMatch(/more than 64 letters/);
  });
});
