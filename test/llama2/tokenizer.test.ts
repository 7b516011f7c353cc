import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readTokenizer } from "../../src/checkpoint/tokenizer/tokenizerFile.ts";
import {
  BOS,
  buildTokenizer,
  decode,
  EOS,
  encode,
  safePrintf,
  type Tokenizer,
  UNK,
} from "../../src/llama2/tokenizer.ts";
import {
  type GenerateCase,
  golden,
  hasShared,
  needsShared,
  ROOT,
  sha256,
  sharedFile,
  sharedGolden,
} from "../helpers/golden.ts";
import { BYTE_VOCAB, type Piece } from "../helpers/tokenizer.ts";

const bytesOf = (text: string) => Buffer.from(text).toString("latin1");
const tokenizerOf = (pieces: readonly Piece[]): Tokenizer => {
  return buildTokenizer(
    pieces.map(([piece]) => piece),
    Float32Array.from(pieces, ([, score]) => score),
  );
};

/** The bytes of `tokens`, which follow `previous`. */
function decodeAll(t: Tokenizer, previous: number, tokens: number[]): string {
  return tokens.map((token, i) => decode(t, tokens[i - 1] ?? previous, token)).join("");
}

describe(`encode, as run.c${needsShared}`, () => {
  interface EncodeCase {
    text: string;
    bos: number;
    eos: number;
    tokens: number[];
    decoded_sha256: string;
  }
  interface Goldens {
    tokenizer: string;
    vocab_size: number;
    cases: EncodeCase[];
  }

  describe.skipIf(!hasShared).each(["llama2", "tok512"] as const)("with %s", (name) => {
    const goldens = () => sharedGolden<Record<typeof name, Goldens>>("encode.json")[name];
    const tokenizer = () => readTokenizer(sharedFile(goldens().tokenizer));

    it("gives its tokens", () => {
      const t = tokenizer();
      expect(t.vocabSize).toBe(goldens().vocab_size);
      for (const { text, bos, eos, tokens } of goldens().cases) {
        expect(encode(t, bytesOf(text), bos === 1, eos === 1), JSON.stringify(text)).toEqual(tokens);
      }
    });

    it("gives the bytes that decode gives back", () => {
      const t = tokenizer();
      for (const { text, bos, tokens, decoded_sha256 } of goldens().cases) {
        // the sums take the first piece for one right after BOS, whether there is one or not
        const decoded = Buffer.from(decodeAll(t, BOS, bos ? tokens.slice(1) : tokens), "latin1");
        expect(sha256(decoded), JSON.stringify(text)).toBe(decoded_sha256);
      }
    });
  });
});

describe("encode with the bundled tokenizer", () => {
  const t = readTokenizer(`${ROOT}/models/tok2048.bin`);

  it("gives run.c's tokens of every prompt in the goldens", () => {
    const { cases } = golden<{ cases: GenerateCase[] }>("bundled-model.json");
    expect(cases.some(({ prompt }) => prompt !== "")).toBe(true);
    for (const { prompt, prompt_tokens } of cases) {
      expect(encode(t, bytesOf(prompt), true, false), JSON.stringify(prompt)).toEqual(prompt_tokens);
    }
  });

  it("loses nothing of any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => {
        expect(decodeAll(t, BOS, encode(t, bytesOf(text), false, false))).toBe(bytesOf(text));
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  it("loses no byte of what is not UTF-8, or NUL", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), (bytes) => {
        const text = Buffer.from(bytes).toString("latin1");
        expect(decodeAll(t, BOS, encode(t, text, false, false))).toBe(text);
      }),
      { seed: 2, numRuns: 500 },
    );
  });

  it("gives nothing for an empty text but the tokens around it", () => {
    expect(encode(t, "", false, false)).toEqual([]);
    expect(encode(t, "", true, true)).toEqual([BOS, EOS]);
  });
});

/**
 * run.c 452, as it stands there: all pairs are looked at for every merge. Where run.c would go on with token -1, the
 * unknown token stands in. Says how many merges it took, too.
 */
function naiveEncode(t: Tokenizer, text: string, bos: boolean, eos: boolean): { tokens: number[]; merges: number } {
  const tokens: number[] = [];
  if (bos) tokens.push(BOS);
  if (text !== "") tokens.push(Math.max(t.vocab.indexOf(" "), UNK));
  let codePoint = "";
  for (let i = 0; i < text.length; i++) {
    codePoint += text[i];
    const continues = i + 1 < text.length && (text.charCodeAt(i + 1) & 0xc0) === 0x80;
    if (continues && codePoint.length < 4) continue;
    const id = t.vocab.indexOf(codePoint);
    if (id !== -1) tokens.push(id);
    else {
      for (const byte of Buffer.from(codePoint, "latin1")) {
        tokens.push(t.vocab[byte + 3]?.startsWith("<0x") ? byte + 3 : UNK);
      }
    }
    codePoint = "";
  }
  for (let merges = 0; ; merges++) {
    let bestScore = Math.fround(-1e10);
    let bestId = -1;
    let bestIdx = -1;
    for (let i = 0; i < tokens.length - 1; i++) {
      const id = t.vocab.indexOf(t.vocab[tokens[i]] + t.vocab[tokens[i + 1]]);
      if (id !== -1 && t.vocabScores[id] > bestScore) {
        bestScore = t.vocabScores[id];
        bestId = id;
        bestIdx = i;
      }
    }
    if (bestIdx === -1) return { tokens: eos ? [...tokens, EOS] : tokens, merges };
    tokens.splice(bestIdx, 2, bestId);
  }
}

describe("encode with any vocabulary", () => {
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
  it("merges as run.c's loop over all pairs does", () => {
    let merges = 0;
    fc.assert(
      fc.property(vocabulary, text, fc.boolean(), fc.boolean(), (vocabulary, text, bos, eos) => {
        const t = tokenizerOf(vocabulary);
        const expected = naiveEncode(t, text, bos, eos);
        expect(encode(t, text, bos, eos)).toEqual(expected.tokens);
        merges += expected.merges;
      }),
      { seed: 3, numRuns: RUNS },
    );
    expect(merges).toBeGreaterThan(RUNS);
  });

  it("takes the best pair first, then the leftmost", () => {
    const t = tokenizerOf([...BYTE_VOCAB, [" ", 0], ["a", 0], ["b", 0], ["ab", 1], ["ba", 2], ["aba", 1], ["bb", 2]]);
    const pieces = (text: string) => encode(t, text, false, false).map((token) => t.vocab[token]);
    expect(pieces("aba")).toEqual([" ", "aba"]);
    expect(pieces("ababa")).toEqual([" ", "aba", "ba"]);
    expect(pieces("bbb")).toEqual([" ", "bb", "b"]);
  });

  it("takes no more than four bytes for a code point", () => {
    const t = tokenizerOf([...BYTE_VOCAB, [" ", 0], ["\xf0\x9f\x8e\x88", 0], ["\xf0\x9f\x8e\x88\x80", 9]]);
    expect(encode(t, "\xf0\x9f\x8e\x88\x80", false, false)).toEqual([259, 260, 3 + 0x80]);
  });
});

describe("how much work encode does", () => {
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
    ["emoji", bytesOf("🎈")],
    ["stray bytes", "\x80"],
  ])("grows as the text does: %s, over and over", (_, unit) => {
    const n = 4000;
    const few = comparisons(unit.repeat(n / unit.length));
    const many = comparisons(unit.repeat((16 * n) / unit.length));
    expect(many / (few + 1)).toBeLessThan(16 * 2); // n log n; n^2 would be 256
  });
});

describe("decode", () => {
  const t = tokenizerOf([...BYTE_VOCAB, [" ", 0], [" a", 0], ["  ", 0], ["<0x", 0], ["<0xZZ>", 0], ["<0x4>", 0]]);
  const token = (piece: string) => t.vocab.indexOf(piece);

  it("gives a piece as it is", () => {
    expect(decode(t, token(" a"), token(" a"))).toBe(" a");
    expect(decode(t, -1, token(" a"))).toBe(" a");
    expect(decode(t, EOS, token(" a"))).toBe(" a");
  });

  it("takes one space off right after BOS", () => {
    expect(decode(t, BOS, token(" a"))).toBe("a");
    expect(decode(t, BOS, token("  "))).toBe(" ");
    expect(decode(t, BOS, token(" "))).toBe("");
  });

  it("turns the token of a byte into the byte", () => {
    for (let byte = 0; byte < 256; byte++) expect(decode(t, BOS, 3 + byte)).toBe(String.fromCharCode(byte));
    expect(decode(t, -1, token("<0x4>"))).toBe("\x04"); // as C's sscanf reads it
  });

  it("leaves alone what only looks like a byte", () => {
    expect(decode(t, -1, token("<0x"))).toBe("<0x");
    expect(decode(t, -1, token("<0xZZ>"))).toBe("<0xZZ>");
  });
});

describe("safePrintf", () => {
  it("prints a single byte only if it is printable or white space in C", () => {
    const printed = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => {
      return safePrintf(String.fromCharCode(byte)) !== "";
    });
    const printable = Array.from({ length: 0x7f - 0x20 }, (_, i) => 0x20 + i);
    expect(printed).toEqual([9, 10, 11, 12, 13, ...printable]);
  });

  it("prints longer pieces whatever is in them", () => {
    expect(safePrintf("\x01\x02")).toBe("\x01\x02");
    expect(safePrintf("\xc3\xa9")).toBe("\xc3\xa9");
  });

  it("ends at a NUL, as C strings do", () => {
    expect(safePrintf("")).toBe("");
    expect(safePrintf("\0abc")).toBe("");
    expect(safePrintf("ab\0c")).toBe("ab");
    expect(safePrintf("\x01\0c")).toBe("");
  });
});
