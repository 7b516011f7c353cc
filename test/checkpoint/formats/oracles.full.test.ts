/*
 * Other programs' readers of the same files: @huggingface/gguf, and @huggingface/tokenizers.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { openGguf } from "../../../src/checkpoint/gguf.ts";
import { parseTokenizer } from "../../../src/checkpoint/tokenizer/bin.ts";
import { parseTokenizerJson } from "../../../src/checkpoint/tokenizer/tokenizerJson.ts";
import { encode, type PreparingTokenizer } from "../../../src/encode.ts";
import { fileAt } from "../../../src/files/disk.ts";
import { TextStream, toByteString } from "../../../src/text.ts";
import { SHAPES } from "../../helpers/checkpoint.ts";
import { type GgufEntry, ggufBytes, ggufKeys } from "../../helpers/formats/gguf.ts";
import { seededModel } from "../../helpers/formats/model.ts";
import { type PieceToWrite, SPECIAL, tokenizerJson } from "../../helpers/formats/sentencepiece.ts";
import { hasShared, needsShared, sharedFile, sharedGolden } from "../../helpers/golden.ts";
import { installConsumers } from "../../helpers/packed.ts";
import { seededRandom } from "../../helpers/random.ts";
import { tempDir } from "../../helpers/temp.ts";

interface Gguf {
  gguf(
    path: string,
    options: { allowLocalFile: boolean },
  ): Promise<{
    metadata: Record<string, unknown>;
    tensorInfos: { name: string; shape: bigint[]; dtype: number; offset: bigint }[];
    tensorDataOffset: bigint;
  }>;
}
interface Tokenizers {
  Tokenizer: new (
    json: object,
    config: object,
  ) => {
    encode(text: string, options?: { add_special_tokens?: boolean }): { ids: number[] };
    decode(ids: number[], options?: { skip_special_tokens?: boolean }): string;
  };
}

let gguf: Gguf["gguf"];
let Tokenizer: Tokenizers["Tokenizer"];
beforeAll(async () => {
  installConsumers();
  const { resolve } = createRequire(join(import.meta.dirname, "../../consumers/package.json"));
  const load = async <T>(name: string) => (await import(pathToFileURL(resolve(name)).href)) as T;
  ({ gguf } = await load<Gguf>("@huggingface/gguf"));
  ({ Tokenizer } = await load<Tokenizers>("@huggingface/tokenizers"));
}, 300_000);

describe("@huggingface/gguf reads the same from a GGUF file as this package", () => {
  const TYPES: Record<string, number> = { F32: 0, F16: 1, Q8_0: 8, BF16: 30 };
  const some: GgufEntry[] = [
    ["tokenizer.ggml.model", 8, "llama"],
    ["tokenizer.ggml.tokens", 9, { type: 8, items: ["<unk>", "<s>", "\u2581é"] }],
    ["tokenizer.ggml.scores", 9, { type: 6, items: [0, -1.5, 2] }],
    ["tokenizer.ggml.add_space_prefix", 7, true],
    ["general.file_type", 10, 2 ** 40],
  ];
  it.each([
    ["F32", 32, 3],
    ["F16", 64, 3],
    ["BF16", 32, 2],
    ["Q8_0", 32, 3],
  ] as const)("of %s, aligned to %d bytes, version %d", async (type, alignment, version) => {
    const shape = type === "Q8_0" ? ([64, 96, 2, 4, 2, 320, 32] as const) : SHAPES.gqa;
    const { tensors } = seededModel(shape, "gguf", type, { norms: "F32" });
    const path = join(tempDir(), "model.gguf");
    const entries = ggufKeys(shape, [...some, ["general.alignment", 4, alignment]]);
    writeFileSync(path, ggufBytes(entries, tensors, { version, alignment }));
    const theirs = await gguf(path, { allowLocalFile: true });
    const file = fileAt(path);
    const ours = await openGguf(file);
    file.close();

    expect(theirs.tensorInfos).toHaveLength(ours.tensors.size);
    for (const { name, shape, dtype, offset } of theirs.tensorInfos) {
      const tensor = ours.tensors.get(name);
      expect(tensor?.shape).toEqual(shape.map(Number).reverse());
      expect(TYPES[tensor?.type ?? ""]).toBe(dtype);
      expect(tensor?.offset).toBe(Number(theirs.tensorDataOffset + offset));
    }
    for (const [key, value] of ours.values) {
      const found = theirs.metadata[key];
      expect(found, key).toEqual(typeof value === "object" ? value.values : value);
    }
  });
});

/** Llama 2's pieces, from its tokenizer.bin, as Hugging Face's converter writes them. */
function llamaJson(): Record<string, unknown> {
  const { vocab, vocabScores } = parseTokenizer(readFileSync(sharedFile("models/tokenizer.bin")), "tokenizer.bin");
  const pieces = vocab.map((piece, id): PieceToWrite => {
    const text = Buffer.from(piece, "latin1").toString().replaceAll(" ", "\u2581");
    return id < 259 ? SPECIAL[id] : { text, score: vocabScores[id] };
  });
  return {
    ...tokenizerJson(pieces),
    post_processor: null,
    truncation: null,
    padding: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "\u2581" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
  };
}

/** The text of tokens that BOS came before. */
function decoded(tokenizer: PreparingTokenizer, tokens: readonly number[]): string {
  const stream = new TextStream(tokenizer, 1);
  return tokens.map((token) => stream.push(token)).join("") + stream.end();
}

describe.skipIf(!hasShared)(`@huggingface/tokenizers${needsShared}`, () => {
  /** Words, spaces, code and any letters. */
  function* texts(): Generator<string> {
    const { llama2 } = sharedGolden<{ llama2: { cases: { text: string }[] } }>("encode.json");
    // <s> in a text is text to us, as it is to run.c, and BOS to Hugging Face
    for (const { text } of llama2.cases) if (!text.includes("<s>")) yield text;
    const words = readFileSync(sharedFile("text/tinystories-heldout.txt"), "utf8").split(/\s+/).slice(0, 5000);
    const random = seededRandom(18);
    const below = (n: number) => Math.floor(random() * n);
    const others = [
      "  ",
      "\n",
      "\t\t",
      "héllo",
      "日本語",
      "\u{1f600}\u{1f3fd}",
      "a\u0301",
      "x1=f(y);",
      "\u00a0",
      "ﬁ",
      "\0",
    ];
    for (let i = 0; i < 400; i++) {
      const parts = Array.from({ length: below(12) }, () =>
        random() < 0.3
          ? others[below(others.length)]
          : random() < 0.1
            ? String.fromCodePoint(below(0xd800))
            : words[below(words.length)],
      );
      yield parts.join(random() < 0.8 ? " " : "");
    }
  }

  /** Check that both readers of a tokenizer.json agree about all texts, there and back. */
  function expectAgreement(json: object): void {
    const theirs = new Tokenizer(json, {});
    const ours = parseTokenizerJson(Buffer.from(JSON.stringify(json)), "tokenizer.json");
    const found: unknown[] = [];
    const expected: unknown[] = [];
    for (const text of texts()) {
      const ids = encode(ours, toByteString(text), false, false);
      const right = theirs.encode(text, { add_special_tokens: false }).ids;
      found.push({ text, ids, back: decoded(ours, ids) });
      const back = right.length === 0 ? "" : theirs.decode(right, { skip_special_tokens: true });
      expected.push({ text, ids: right, back });
    }
    expect(found.length).toBeGreaterThan(400);
    expect(found).toEqual(expected);
  }

  it("encodes and decodes text as this package does with the same tokenizer.json", () => {
    expectAgreement(llamaJson());
  });

  it("and also where no space is put before a text", () => {
    expectAgreement({
      ...llamaJson(),
      normalizer: { type: "Replace", pattern: { String: " " }, content: "\u2581" },
      decoder: {
        type: "Sequence",
        decoders: [
          { type: "Replace", pattern: { String: "\u2581" }, content: " " },
          { type: "ByteFallback" },
          { type: "Fuse" },
        ],
      },
    });
  });
});
