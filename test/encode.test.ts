import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readTokenizer } from "../src/checkpoint/tokenizer/find.ts";
import { encode } from "../src/encode.ts";
import { encode as shortEncode } from "../src/llama2/tokenizer.ts";
import { toByteString } from "../src/text.ts";
import { ROOT } from "./helpers/golden.ts";
import { BYTE_VOCAB, type Piece, tokenizerFrom } from "./helpers/tokenizer.ts";

describe("encode of long texts", () => {
  // few letters and few scores: many merges, and many of them tie
  const letter = fc.constantFrom("a", "a", "a", "b", "b", " ", "\xc3\xa9", "\xf0\x9f\x8e\x88", "\x80");
  const score = fc.constantFrom(-3, -2, -1, 0, 7, -1e9, -1e10, -3e38, 3e38, NaN, Infinity, -Infinity);
  const word = (min: number) => fc.array(letter, { minLength: min, maxLength: 4 }).map((letters) => letters.join(""));
  const pieces = fc.array(fc.tuple(word(0), score), { minLength: 3, maxLength: 60, size: "max" });
  const vocabulary = fc.oneof(
    pieces, // anything, with no bytes and perhaps no space
    pieces.map((more) => [...BYTE_VOCAB, ...["a", "b", " "].map((piece): Piece => [piece, 0]), ...more]),
  );
  const text = fc.array(letter, { maxLength: 30, size: "max" }).map((letters) => letters.join(""));

  const RUNS = 3000;
  it("gives the tokens of run.c's loop over all pairs, with any vocabulary", () => {
    let merges = 0;
    fc.assert(
      fc.property(vocabulary, text, fc.boolean(), fc.boolean(), (vocabulary, text, bos, eos) => {
        const t = tokenizerFrom(vocabulary);
        const expected = shortEncode(t, text, bos, eos);
        expect(encode(t, text, bos, eos)).toEqual(expected);
        merges += shortEncode(t, text, bos, eos, (_, tokens) => tokens).length - expected.length;
      }),
      { seed: 3, numRuns: RUNS },
    );
    expect(merges).toBeGreaterThan(RUNS);
  });

  it("and also with the bundled tokenizer", () => {
    const t = readTokenizer(`${ROOT}/models/tok2048.bin`);
    fc.assert(
      fc.property(fc.string({ unit: "grapheme-ascii", maxLength: 60 }), (ascii) => {
        const text = `She said: ${ascii} and they played`;
        expect(encode(t, text, true, false)).toEqual(shortEncode(t, text, true, false));
      }),
      { seed: 4, numRuns: 300 },
    );
  });
});

describe("the work of encode", () => {
  const t = readTokenizer(`${ROOT}/models/tok2048.bin`);

  /**
   * How many scores are compared to encode `text`. Pieces are looked up no more than four times a byte: as a code
   * point, as a pair, and twice for a merge.
   */
  function comparisons(text: string): number {
    let lookups = 0;
    let scores = 0;
    class CountingMap extends Map<string, number> {
      override get(piece: string): number | undefined {
        if (++lookups > 4 * (text.length + 1)) throw new Error("more than four lookups a byte");
        return super.get(piece);
      }
    }
    const vocabScores = new Proxy(t.vocabScores, {
      get(target, index) {
        scores++;
        return Reflect.get(target, index);
      },
    });
    encode({ ...t, sortedVocab: new CountingMap(t.sortedVocab), vocabScores }, text, true, false);
    expect(lookups).toBeGreaterThan(text.length / 4);
    return scores;
  }

  const story = "Once upon a time, there was a little girl named Lily. She loved to play outside. ";
  it.each([
    ["a story", story],
    ["one letter", "a"],
    ["spaces", " "],
    ["emoji", toByteString("🎈")],
    ["stray bytes", "\x80"],
  ])("grows linearly with the text: %s, repeated", (_, unit) => {
    const n = 4000;
    const few = comparisons(unit.repeat(n / unit.length));
    const many = comparisons(unit.repeat((16 * n) / unit.length));
    expect(many / (few + 1)).toBeLessThan(16 * 2); // n log n; n^2 would be 256
  });
});
