import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseTokenizer } from "../../src/checkpoint/tokenizer/bin.ts";
import { readTokenizer } from "../../src/checkpoint/tokenizer/find.ts";
import { BOS, decode, EOS, encode, safePrintf, type Tokenizer, UNK } from "../../src/llama2/tokenizer.ts";
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
import { utf16Unit } from "../helpers/random.ts";
import { BYTE_VOCAB, type Piece, piecesOf, tokenizerBytes, tokenizerFrom, withOldBytes } from "../helpers/tokenizer.ts";

const bytesOf = (text: string) => Buffer.from(text).toString("latin1");

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

    it("keeps the bytes, which decode gives back", () => {
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
      fc.property(fc.string({ unit: utf16Unit, maxLength: 60 }), (text) => {
        expect(decodeAll(t, BOS, encode(t, bytesOf(text), false, false))).toBe(bytesOf(text));
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  it("loses no byte of invalid UTF-8, nor NUL", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), (bytes) => {
        const text = Buffer.from(bytes).toString("latin1");
        expect(decodeAll(t, BOS, encode(t, text, false, false))).toBe(text);
      }),
      { seed: 2, numRuns: 500 },
    );
  });

  it("gives only BOS and EOS for an empty text", () => {
    expect(encode(t, "", false, false)).toEqual([]);
    expect(encode(t, "", true, true)).toEqual([BOS, EOS]);
  });
});

describe("a tokenizer file of summer 2023, whose bytes are characters, gives run.c's tokens", () => {
  type Texts = { tokens: number[][]; decoded: string[] };
  const { texts, ...goldens } = golden<{ texts: string[]; bundled: Texts; llama2: Texts }>("encode-2023.json");
  const oldOf = (path: string) => {
    const pieces = withOldBytes(piecesOf(readTokenizer(path)));
    return parseTokenizer(tokenizerBytes(pieces), "old.bin");
  };

  // run.c also takes a byte from 0x80 on for the character of that number, and prints one for the other
  const isMistaken = (text: string) => /\xc2[\x80-\xbf]|\xc3[\x80-\xbf]/.test(text);
  const check = (t: Tokenizer, { tokens }: Texts) => {
    for (const [i, text] of texts.entries()) {
      const encoded = encode(t, text, true, false);
      if (!isMistaken(text)) expect(encoded, JSON.stringify(text)).toEqual(tokens[i]);
      // bytes that no UTF-8 has may merge like the characters they are written as
      if (!text.includes("\xff")) expect(decodeAll(t, BOS, encoded.slice(1))).toBe(text);
    }
  };

  it("in the bundled tokenizer's pieces", () => check(oldOf(`${ROOT}/models/tok2048.bin`), goldens.bundled));

  it.skipIf(!hasShared)(`in Llama 2's pieces${needsShared}`, () => {
    check(oldOf(sharedFile("models/tokenizer.bin")), goldens.llama2);
  });

  it("and no byte becomes the unknown token", () => {
    const t = tokenizerFrom(withOldBytes(BYTE_VOCAB));
    for (let byte = 0x80; byte < 0x100; byte++) {
      expect(encode(t, String.fromCharCode(byte), false, false)).toEqual([3 + 0x20, 3 + byte]);
    }
  });
});

describe("encode with any vocabulary", () => {
  it.each(["<0x-1>", "<0xZZ>", "<0x1>", "<0x01", "<0x02>", "0x01", "\x02"])("takes %j for no byte", (piece) => {
    const vocabulary: Piece[] = [...BYTE_VOCAB, [" ", 0]];
    vocabulary[3 + 1] = [piece, 0];
    expect(encode(tokenizerFrom(vocabulary), "\x01", false, false)).toEqual([259, UNK]);
  });

  it("accepts byte tokens in either notation, also in lower case", () => {
    const vocabulary: Piece[] = [...BYTE_VOCAB, [" ", 0]];
    vocabulary[3 + 0xab] = ["<0xab>", 0];
    vocabulary[3 + 0xff] = ["\xc3\xbf", 0];
    const t = tokenizerFrom(vocabulary);
    expect(encode(t, "\xab\xff\xfe", false, false)).toEqual([259, 3 + 0xab, 3 + 0xff, 3 + 0xfe]);
  });

  it("merges the best pair first, then the leftmost", () => {
    const t = tokenizerFrom([...BYTE_VOCAB, [" ", 0], ["a", 0], ["b", 0], ["ab", 1], ["ba", 2], ["aba", 1], ["bb", 2]]);
    const pieces = (text: string) => encode(t, text, false, false).map((token) => t.vocab[token]);
    expect(pieces("aba")).toEqual([" ", "aba"]);
    expect(pieces("ababa")).toEqual([" ", "aba", "ba"]);
    expect(pieces("bbb")).toEqual([" ", "bb", "b"]);
  });

  it("takes at most four bytes for a code point", () => {
    const t = tokenizerFrom([...BYTE_VOCAB, [" ", 0], ["\xf0\x9f\x8e\x88", 0], ["\xf0\x9f\x8e\x88\x80", 9]]);
    expect(encode(t, "\xf0\x9f\x8e\x88\x80", false, false)).toEqual([259, 260, 3 + 0x80]);
  });
});

describe("decode", () => {
  const t = tokenizerFrom([...BYTE_VOCAB, [" ", 0], [" a", 0], ["  ", 0], ["<0x", 0], ["<0xZZ>", 0]]);
  const token = (piece: string) => t.vocab.indexOf(piece);

  it("gives a piece unchanged", () => {
    expect(decode(t, token(" a"), token(" a"))).toBe(" a");
    expect(decode(t, -1, token(" a"))).toBe(" a");
    expect(decode(t, EOS, token(" a"))).toBe(" a");
  });

  it("removes one space right after BOS", () => {
    expect(decode(t, BOS, token(" a"))).toBe("a");
    expect(decode(t, BOS, token("  "))).toBe(" ");
    expect(decode(t, BOS, token(" "))).toBe("");
  });

  it("turns a byte token into the byte", () => {
    for (let byte = 0; byte < 256; byte++) expect(decode(t, BOS, 3 + byte)).toBe(String.fromCharCode(byte));
  });

  it.each([
    ["<0x4>", 0x04],
    ["<0x-1>", 0xff],
    ["<0x-ff>", 0xf1],
    ["<0x+a>", 0x0a],
    ["<0x\t 5>", 0x05],
    ["<0x0x5>", 0x00],
    ["<0xABC>", 0xab],
  ])("reads %j as C's sscanf does", (piece, byte) => {
    const t = tokenizerFrom([...BYTE_VOCAB, [piece, 0]]);
    expect(decode(t, -1, 259)).toBe(String.fromCharCode(byte));
  });

  it.each(["<0X41>", "<0x->", "<0x+>", "<0x\xa05>"])("leaves alone %j, as C's sscanf does", (piece) => {
    const t = tokenizerFrom([...BYTE_VOCAB, [piece, 0]]);
    expect(decode(t, -1, 259)).toBe(piece);
  });

  it("leaves a piece that only looks like a byte token", () => {
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

  it("prints longer pieces with any content", () => {
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
