import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { tokenizerOf } from "../src/llama2/tokenizer.ts";
import { bytesOf, TextStream, toByteString } from "../src/text.ts";
import { utf16Unit } from "./helpers/random.ts";

const bytes = fc.uint8Array({ maxLength: 40 });

describe("a byte string", () => {
  it("has a character for each byte of a text's UTF-8, with U+FFFD for a lone surrogate", () => {
    fc.assert(
      fc.property(fc.string({ unit: utf16Unit }), (text) => {
        expect(toByteString(text)).toBe(Buffer.from(text).toString("latin1"));
      }),
      { seed: 1 },
    );
    expect(toByteString("a\ud800b")).toBe("a\xef\xbf\xbdb");
  });

  it("keeps bytes that are not UTF-8", () => {
    fc.assert(
      fc.property(bytes, (bytes) => {
        expect(bytesOf(toByteString(bytes))).toEqual(bytes);
      }),
      { seed: 1 },
    );
  });

  it("has as many characters as its text has bytes, also if that is long", () => {
    expect(toByteString("é".repeat(100_000))).toBe("\xc3\xa9".repeat(100_000));
  });
});

it("a stream of tokens gives the text of all their bytes, however characters are split", () => {
  const tokenizer = tokenizerOf([], new Float32Array());
  const texts = fc.array(
    fc.oneof(fc.string({ unit: utf16Unit, maxLength: 5 }).map(toByteString), bytes.map(toByteString)),
  );
  const cuts = fc.array(fc.nat(7), { maxLength: 50 });
  fc.assert(
    fc.property(texts, cuts, (texts, cuts) => {
      const all = texts.join("");
      tokenizer.vocab = [];
      for (let at = 0, i = 0; at < all.length; i++) {
        const length = cuts[i] ?? 3;
        tokenizer.vocab.push(all.slice(at, at + length));
        at += Math.max(length, i < cuts.length ? 0 : 1);
      }
      // a piece like <0x41> would be a raw byte
      fc.pre(!tokenizer.vocab.some((piece) => piece.startsWith("<0x")));
      const stream = new TextStream(tokenizer, -1);
      const text = tokenizer.vocab.map((_, token) => stream.push(token)).join("") + stream.end();
      expect(text).toBe(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytesOf(all)));
    }),
    { seed: 1, numRuns: 500 },
  );
});
