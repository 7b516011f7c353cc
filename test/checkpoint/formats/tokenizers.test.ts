import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseTokenizer } from "../../../src/checkpoint/tokenizer/bin.ts";
import { ggufTokenizer } from "../../../src/checkpoint/tokenizer/ggufTokenizer.ts";
import { parseSentencePiece } from "../../../src/checkpoint/tokenizer/sentencepiece.ts";
import { parseTokenizerJson } from "../../../src/checkpoint/tokenizer/tokenizerJson.ts";
import { encode, type PreparingTokenizer } from "../../../src/encode.ts";
import { Llama2Error } from "../../../src/errors.ts";
import { TextStream, toByteString } from "../../../src/text.ts";
import { thrown } from "../../helpers/errors.ts";
import {
  message,
  type PieceToWrite,
  SPECIAL,
  sentencePieceBytes,
  tokenizerJson,
  varint,
} from "../../helpers/formats/sentencepiece.ts";
import { hasShared, needsShared, sharedFile, sharedGolden } from "../../helpers/golden.ts";

const MODEL = sharedFile("models/tokenizer.model");
const BIN = sharedFile("models/tokenizer.bin");
interface Encoded {
  llama2: { cases: { text: string; bos: number; eos: number; tokens: number[] }[] };
}
const encodedByRunC = () => sharedGolden<Encoded>("encode.json").llama2.cases;
const parse = (bytes: Uint8Array) => parseSentencePiece(bytes, "tokenizer.model");
const parseJson = (json: unknown) => parseTokenizerJson(Buffer.from(JSON.stringify(json)), "tokenizer.json");

/** Llama 2's pieces, from its tokenizer.bin. */
function llamaPieces(): PieceToWrite[] {
  const { vocab, vocabScores } = parseTokenizer(readFileSync(BIN), "tokenizer.bin");
  return vocab.map((piece, id) => {
    const text = Buffer.from(piece, "latin1").toString().replaceAll(" ", "\u2581");
    return id < 259 ? SPECIAL[id] : { text, score: vocabScores[id] };
  });
}

/** A normalizer that puts no space before a text, and keeps all that are there. */
const NO_PREFIX = [
  [3, 0],
  [4, 0],
] as const;

describe.skipIf(!hasShared)(`Llama 2's own tokenizer${needsShared}`, () => {
  it("tokenizer.model has the pieces and scores of tokenizer.bin", () => {
    expect(parse(readFileSync(MODEL))).toEqual(parseTokenizer(readFileSync(BIN), "tokenizer.bin"));
  });

  it("tokenizer.model encodes all texts as run.c does", () => {
    const tokenizer = parse(readFileSync(MODEL));
    for (const { text, bos, eos, tokens } of encodedByRunC()) {
      expect(encode(tokenizer, toByteString(text), bos === 1, eos === 1)).toEqual(tokens);
    }
  });

  it("tokenizer.json encodes all texts as run.c does", () => {
    const tokenizer = parseJson(tokenizerJson(llamaPieces()));
    for (const { text, bos, eos, tokens } of encodedByRunC()) {
      expect(encode(tokenizer, toByteString(text), bos === 1, eos === 1)).toEqual(tokens);
    }
  });
});

/** A small vocabulary: the letters, and some of what they make. */
const small: PieceToWrite[] = [
  ...SPECIAL,
  ...["\u2581", "a", "b", "c", "f", "i"].map((text, i) => ({ text, score: -100 - i })),
  ...["ab", "\u2581a", "\u2581ab", "abc", "fi"].map((text, i) => ({ text, score: -i - 1 })),
];
const tokensOf = (tokenizer: ReturnType<typeof parse>, text: string) =>
  encode(tokenizer, toByteString(text), false, false).map((id) => (small[id] ?? { text: `${id}` }).text);

describe("how a sentencepiece model prepares text", () => {
  it("Llama's way is run.c's: one space before it", () => {
    const tokenizer = parse(sentencePieceBytes(small));
    expect(tokenizer.prepare).toBeUndefined();
    expect(tokensOf(tokenizer, "ab  c ")).toEqual(["\u2581ab", "\u2581", "\u2581", "c", "\u2581"]);
  });

  it("spaces in a row become one, and those at the ends none", () => {
    const tokenizer = parse(sentencePieceBytes(small, []));
    expect(tokensOf(tokenizer, "  ab   c  ")).toEqual(["\u2581ab", "\u2581", "c"]);
    expect(tokensOf(tokenizer, "   ")).toEqual([]);
    expect(tokensOf(tokenizer, "")).toEqual([]);
  });

  it("no space is put before it", () => {
    const tokenizer = parse(sentencePieceBytes(small, NO_PREFIX));
    expect(tokensOf(tokenizer, "ab")).toEqual(["ab"]);
  });

  it("no space is put before it, and none is removed after BOS", () => {
    const withoutPrefix = parse(sentencePieceBytes(small, NO_PREFIX));
    const roundTrip = (tokenizer: PreparingTokenizer, text: string) => {
      const stream = new TextStream(tokenizer, 1);
      return encode(tokenizer, text, false, false)
        .map((token) => stream.push(token))
        .join("");
    };
    for (const text of [" ab", "ab", "  ab"]) expect(roundTrip(withoutPrefix, text)).toBe(text);
    expect(roundTrip(parse(sentencePieceBytes(small)), "ab")).toBe("ab");
  });

  it("letters are written as the vocabulary has them", () => {
    // a trie of one rule, U+FB01 (EF AC 81) to "fi": see charsMap.ts for what the fields of a unit are
    const units = new Uint32Array(1024);
    const unit = (label: number, offset: number, leaf = 0) => (offset << 10) | (leaf << 8) | label;
    units[0] = unit(0, 256);
    units[256 ^ 0xef] = unit(0xef, 1);
    const second = 256 ^ 0xef ^ 1 ^ 0xac;
    units[second] = unit(0xac, 512);
    const third = second ^ 512 ^ 0x81;
    units[third] = unit(0x81, 2, 1);
    units[third ^ 2] = 0x80000000; // the leaf: text 0
    const size = Buffer.alloc(4);
    size.writeUInt32LE(units.byteLength);
    const map = Buffer.concat([size, Buffer.from(units.buffer), Buffer.from("fi\0")]);
    const tokenizer = parse(
      sentencePieceBytes(small, [
        [2, map],
        [4, 0],
      ]),
    );
    expect(tokensOf(tokenizer, "a\ufb01b")).toEqual(["\u2581a", "fi", "b"]);
    expect(tokensOf(tokenizer, "\ufb00")).toEqual(["\u2581", "<0xEF>", "<0xAC>", "<0x80>"]);
  });

  it("user-defined pieces are found as they are, and never merged", () => {
    const pieces = [...small, { text: "abc", type: 4 }].filter(({ text, type }) => text !== "abc" || type === 4);
    const tokenizer = parse(sentencePieceBytes(pieces));
    const tokens = encode(tokenizer, "ababcb", false, false).map((id) => pieces[id].text);
    expect(tokens).toEqual(["\u2581ab", "abc", "b"]);
  });
});

describe("a sentencepiece model is refused", () => {
  const good = sentencePieceBytes(small);
  it.each<[string, Uint8Array, RegExp]>([
    ["that is empty", new Uint8Array(), /no pieces/],
    ["with a number of eleven bytes", Buffer.concat([varint(8), Buffer.alloc(11, 0xff)]), /more than ten bytes/],
    ["with a length past the end", Buffer.concat([varint(10), varint(1000)]), /cut short/],
    ["with a length of 2^63", Buffer.concat([varint(10), Buffer.alloc(9, 0x80), Buffer.from([1])]), /cut short/],
    ["with a negative length", Buffer.concat([varint(10), varint(-1)]), /cut short/],
    ["with a group", Buffer.from([0x0b]), /wire type 3/],
    ["with field 0", Buffer.from([0, 0]), /field 0/],
    ["whose piece is not UTF-8", message([[1, message([[1, Uint8Array.of(0xff)]])]]), /piece 0 is not UTF-8/],
    ["of unigrams", sentencePieceBytes(small, [[4, 0]], [[3, 1]]), /type 1/],
    ["with another BOS", sentencePieceBytes(small, [[4, 0]], [[41, 5]]), /0, 5, 2/],
    ["without BOS", sentencePieceBytes(small, [[4, 0]], [[41, -1]]), /0, -1, 2/],
    ["with spaces after words", sentencePieceBytes(small, [[4, 0]], [[24, 1]]), /white space behind/],
    ["with bytes elsewhere", sentencePieceBytes([...small, { text: "<0x41>", type: 6 }]), /is a byte/],
    ["with pieces that must not be used", sentencePieceBytes([...small, { text: "x", type: 5 }]), /must not be used/],
    ["with a type that is not known", sentencePieceBytes([...small, { text: "x", type: 9 }]), /type 9/],
    ["with a score that is NaN", sentencePieceBytes([...small, { text: "x", score: NaN }]), /NaN/],
    [
      "with rules that are cut short",
      sentencePieceBytes(small, [[2, Uint8Array.of(8, 0, 0, 0, 1)]]),
      /rules of normalization/,
    ],
    ["with two pieces", sentencePieceBytes(small.slice(0, 2)), /2 tokens/],
  ])("%s", (_, bytes, expected) => {
    expect(thrown("E_FORMAT", () => parse(bytes)).message).toMatch(expected);
  });

  it("that is cut at any of its last 300 bytes, or it reads as another tokenizer", () => {
    for (let length = good.length - 300; length < good.length; length++) {
      try {
        parse(good.subarray(0, length));
      } catch (error) {
        expect(error).toBeInstanceOf(Llama2Error);
      }
    }
  });

  it("that is damaged in any way, or it is read", () => {
    const change = fc.record({ at: fc.nat(good.length - 1), byte: fc.nat(255) });
    const outcomes: Record<string, number> = {};
    const property = fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
      const bytes = Uint8Array.from(good);
      for (const { at, byte } of changes) bytes[at] = byte;
      let did = "parsed";
      try {
        encode(parse(bytes), "ab abc \xef\xac\x81", true, true);
      } catch (error) {
        if (!(error instanceof Llama2Error)) throw error;
        did = error.code;
      }
      outcomes[did] = (outcomes[did] ?? 0) + 1;
    });
    fc.assert(property, { seed: 24, numRuns: 3000 });
    expect(outcomes.parsed).toBeGreaterThan(100);
    expect(outcomes.E_FORMAT).toBeGreaterThan(500);
  });
});

describe("tokenizer.json", () => {
  const json = tokenizerJson(small);
  const model = json.model as Record<string, unknown>;
  const withModel = (changes: object) => ({ ...json, model: { ...model, ...changes } });

  it("encodes as the sentencepiece model it was made from", () => {
    const [one, other] = [parseJson(json), parse(sentencePieceBytes(small))];
    for (const text of ["", "a", "ab abc", "  abcabc fi", "x\u00e9 ab"])
      expect(tokensOf(one, text)).toEqual(tokensOf(other, text));
  });

  it("may list its merges as pairs", () => {
    const merges = (model.merges as string[]).map((merge) => merge.split(" "));
    expect(tokensOf(parseJson(withModel({ merges })), "ab")).toEqual(["\u2581ab"]);
  });

  it("with Metaspace puts no second space before text", () => {
    const metaspace = { type: "Metaspace", replacement: "\u2581", prepend_scheme: "first", split: false };
    const tokenizer = parseJson({ ...json, normalizer: null, pre_tokenizer: metaspace });
    expect(tokensOf(tokenizer, "ab")).toEqual(["\u2581ab"]);
    expect(tokensOf(tokenizer, " ab")).toEqual(["\u2581ab"]);
  });

  it("may have tokens that were added, which are found as they are", () => {
    const added = [...(json.added_tokens as object[]), { id: small.length, content: "abc!", special: false }];
    expect(tokensOf(parseJson({ ...json, added_tokens: added }), "ababc!")).toEqual(["\u2581ab", `${small.length}`]);
  });

  it("does not find special tokens in text", () => {
    expect(tokensOf(parseJson(json), "<s>")).not.toContain("<s>");
  });

  it.each<[string, unknown, RegExp]>([
    ["of a byte-level model", withModel({ byte_fallback: false }), /byte_fallback/],
    ["of unigrams", withModel({ type: "Unigram" }), /"Unigram"/],
    ["of whole words", withModel({ ignore_merges: true }), /ignore_merges/],
    ["with suffixes", withModel({ end_of_word_suffix: "</w>" }), /end_of_word_suffix/],
    ["without a model", { ...json, model: undefined }, /no model/],
    ["without a vocabulary", withModel({ vocab: [] }), /no vocabulary/],
    ["without merges", withModel({ merges: undefined }), /no merges/],
    ["with a merge of three", withModel({ merges: ["a b c"] }), /not a pair/],
    ["with a merge of something that is not a piece", withModel({ merges: ["a q"] }), /no pieces together/],
    [
      "with an order that no scores give",
      withModel({ merges: ["a bc", "\u2581 a", "ab c"], vocab: { ...(model.vocab as object), bc: small.length } }),
      /two priorities/,
    ],
    [
      "with a merge left out",
      withModel({ merges: ["a b", "\u2581 a", "\u2581a b", "ab c", "f i"] }),
      /"\u2581" and "ab" are not merged/,
    ],
    ["with an id that is text", withModel({ vocab: { a: "1" } }), /the id "1"/],
    ["with an id beyond reason", withModel({ vocab: { a: 1e9 } }), /the id 1000000000/],
    ["with two texts of one id", withModel({ vocab: { ...(model.vocab as object), q: 5 } }), /is both/],
    ["with a hole", withModel({ vocab: { ...(model.vocab as object), q: 5000 } }), /there is no token 270/],
    [
      "with another BOS",
      {
        ...withModel({ vocab: Object.fromEntries(small.map(({ text }, id) => [id === 1 ? "[BOS]" : text, id])) }),
        added_tokens: [],
      },
      /0, -1, 2/,
    ],
    ["that lower-cases", { ...json, normalizer: { type: "Lowercase" } }, /normalizer "Lowercase"/],
    [
      "that splits words",
      { ...json, normalizer: null, pre_tokenizer: { type: "Metaspace", replacement: "\u2581" } },
      /splits words/,
    ],
    ["that does not say how spaces are written", { ...json, normalizer: null }, /how spaces are written/],
  ])("%s is refused", (_, broken, expected) => {
    expect(thrown("E_FORMAT", () => parseJson(broken)).message).toMatch(expected);
  });
});

describe("the tokenizer in a GGUF file", () => {
  const list = (values: (string | number)[]) => ({ length: values.length, values });
  const values = new Map<string, Parameters<typeof ggufTokenizer>[0] extends ReadonlyMap<string, infer V> ? V : never>([
    ["tokenizer.ggml.model", "llama"],
    ["tokenizer.ggml.tokens", list(small.map(({ text }) => text))],
    ["tokenizer.ggml.scores", list(small.map(({ score = 0 }) => score))],
    ["tokenizer.ggml.token_type", list(small.map(({ type = 1 }) => type))],
    ["tokenizer.ggml.bos_token_id", 1],
  ]);
  const broken = (key: string, value: unknown) => new Map(values).set(`tokenizer.ggml.${key}`, value as never);

  it("encodes as the sentencepiece model", () => {
    expect(ggufTokenizer(values, "model.gguf")).toEqual(parse(sentencePieceBytes(small)));
  });

  it("may be absent", () => {
    expect(ggufTokenizer(new Map(), "model.gguf")).toBeUndefined();
  });

  it("may put no space before a text", () => {
    const tokenizer = ggufTokenizer(broken("add_space_prefix", false), "model.gguf");
    expect(tokensOf(tokenizer as NonNullable<typeof tokenizer>, "ab")).toEqual(["ab"]);
  });

  it.each<[string, string, unknown, RegExp]>([
    ["of another kind", "model", "gpt2", /"gpt2"/],
    ["without tokens", "tokens", undefined, /no tokens/],
    ["with tokens that are no list", "tokens", 7, /tokens is not a list/],
    ["with fewer scores", "scores", list([1, 2]), /2 scores/],
    ["with scores that are text", "scores", list(small.map(() => "1")), /token 0/],
    ["with another BOS", "bos_token_id", 7, /0, 7, 2/],
  ])("%s is refused", (_, key, value, expected) => {
    expect(thrown("E_FORMAT", () => ggufTokenizer(broken(key, value), "model.gguf")).message).toMatch(expected);
  });
});
