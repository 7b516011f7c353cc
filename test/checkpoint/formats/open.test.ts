import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { open } from "../../../src/checkpoint/open.ts";
import { findTokenizer } from "../../../src/checkpoint/tokenizer/find.ts";
import { filesAt } from "../../../src/files/disk.ts";
import { loadModel } from "../../../src/loadModel.ts";
import { makeCheckpoint, SHAPES } from "../../helpers/checkpoint.ts";
import { rejected } from "../../helpers/errors.ts";
import { type GgufEntry, ggufBytes, ggufKeys } from "../../helpers/formats/gguf.ts";
import { huggingFaceConfig, huggingFaceTensors, seededModel } from "../../helpers/formats/model.ts";
import { safetensorsBytes } from "../../helpers/formats/safetensors.ts";
import { expectSameModel } from "../../helpers/formats/same.ts";
import { type PieceToWrite, SPECIAL, sentencePieceBytes, tokenizerJson } from "../../helpers/formats/sentencepiece.ts";
import { addTensors, Pickle, storageEntries, torchBytes, torchZip } from "../../helpers/formats/torch.ts";
import { tempDir } from "../../helpers/temp.ts";

/** A folder with these files. */
function folderOf(contents: Record<string, Uint8Array | string>, name = "a-model"): string {
  const folder = join(tempDir(), name);
  mkdirSync(folder);
  for (const [file, content] of Object.entries(contents)) writeFileSync(join(folder, file), content);
  return folder;
}

const [dim, , n_layers, n_heads, n_kv_heads, vocab_size, max_seq_len] = SHAPES.tiny;
const hf = seededModel(SHAPES.tiny, "hf", "F16");
const meta = seededModel(SHAPES.tiny, "meta", "F16");
const gguf = seededModel(SHAPES.tiny, "gguf", "F16");
const params = JSON.stringify({ dim, n_layers, n_heads, n_kv_heads, norm_eps: 1e-5, vocab_size: -1, max_seq_len });
const hfFolder = {
  "config.json": huggingFaceConfig(hf),
  "model.safetensors": safetensorsBytes(huggingFaceTensors(hf)),
};
const ggufFile = ggufBytes(ggufKeys(SHAPES.tiny), gguf.tensors);

/** A training checkpoint as llama2.c writes them, with torch.compile's prefix. */
function training(): Uint8Array {
  const pickle = Pickle.begin().raw(0x7d).put().op("(").text("model");
  addTensors(pickle, meta.tensors, "_orig_mod.").text("model_args").raw(0x7d).put().op("(");
  for (const [key, value] of Object.entries({ dim, n_layers, n_heads, n_kv_heads, vocab_size, max_seq_len }))
    pickle.text(key).whole(value);
  pickle.text("dropout").float(0).op("u").text("iter_num").whole(7).op("u");
  return torchZip(pickle.end(), storageEntries(meta.tensors));
}

describe("a model is known", () => {
  const cases: [string, string, () => string, Uint8Array][] = [
    [
      "a version-0 file",
      "llama2c-v0",
      () => join(folderOf({ "model.bin": hf.checkpoint }), "model.bin"),
      hf.checkpoint,
    ],
    ["a Hugging Face folder", "hf", () => folderOf(hfFolder), hf.checkpoint],
    [
      "a folder of Meta's",
      "meta",
      () => folderOf({ "params.json": params, "consolidated.00.pth": torchBytes(meta.tensors) }),
      meta.checkpoint,
    ],
    [
      "a GGUF file, whatever it is called",
      "gguf",
      () => join(folderOf({ "model.bin": ggufFile }), "model.bin"),
      gguf.checkpoint,
    ],
    [
      "a folder with one GGUF file",
      "gguf",
      () => folderOf({ "model.gguf": ggufFile, "README.md": "" }),
      gguf.checkpoint,
    ],
    [
      "a training checkpoint",
      "llama2c-pt",
      () => join(folderOf({ "ckpt.pt": training() }), "ckpt.pt"),
      meta.checkpoint,
    ],
    [
      "a safetensors file beside its config.json",
      "hf",
      () => join(folderOf(hfFolder), "model.safetensors"),
      hf.checkpoint,
    ],
    [
      "a shard of Meta's, as its whole folder",
      "meta",
      () =>
        join(
          folderOf({ "params.json": params, "consolidated.00.pth": torchBytes(meta.tensors) }),
          "consolidated.00.pth",
        ),
      meta.checkpoint,
    ],
    [
      "pytorch_model.bin beside its config.json",
      "hf",
      () =>
        join(
          folderOf({ "config.json": huggingFaceConfig(hf), "pytorch_model.bin": torchBytes(huggingFaceTensors(hf)) }),
          "pytorch_model.bin",
        ),
      hf.checkpoint,
    ],
  ];
  it.each(cases)("%s", async (_, format, make, checkpoint) => {
    const opened = await open(filesAt(make()));
    try {
      expect(opened.format).toBe(format);
      await expectSameModel(opened, checkpoint);
    } finally {
      opened.close();
    }
  });

  it.each<[string, () => string, RegExp]>([
    ["an empty folder", () => folderOf({}), /no model in it/],
    [
      "a folder whose weights did not come",
      () => folderOf({ "config.json": huggingFaceConfig(hf) }),
      /config.json, and no model.safetensors/,
    ],
    [
      "a folder with several models",
      () => folderOf({ "a.gguf": ggufFile, "b.gguf": ggufFile, "tokenizer.bin": "" }),
      /a\.gguf, b\.gguf\. Name one/,
    ],
    [
      "a safetensors file without a config.json",
      () => join(folderOf({ "model.safetensors": hfFolder["model.safetensors"] }), "model.safetensors"),
      /config\.json beside it/,
    ],
    [
      "weights of PyTorch without their shape",
      () => join(folderOf({ "model.pth": torchBytes(meta.tensors) }), "model.pth"),
      /does not say what shape/,
    ],
  ])("and it is refused if it is %s", async (_, make, message) => {
    expect((await rejected("E_FORMAT", open(filesAt(make())))).message).toMatch(message);
  });
});

/** Pieces for `count` tokens. */
const pieces = (count: number): PieceToWrite[] => [
  ...SPECIAL,
  ...["\u2581", "a", "b", "ab"].map((text, i) => ({ text, score: i })),
  ...Array.from({ length: count - 263 }, (_, i) => ({ text: `\u0001${i}`, score: -i })),
];
const ggufTokenizer = (count: number): GgufEntry[] => [
  ["tokenizer.ggml.model", 8, "llama"],
  ["tokenizer.ggml.tokens", 9, { type: 8, items: pieces(count).map(({ text }) => text) }],
  ["tokenizer.ggml.scores", 9, { type: 6, items: pieces(count).map(({ score = 0 }) => score) }],
  ["tokenizer.ggml.token_type", 9, { type: 5, items: pieces(count).map(({ type = 1 }) => type) }],
];

describe("its tokenizer", () => {
  const model = sentencePieceBytes(pieces(300));
  const json = JSON.stringify(tokenizerJson(pieces(300)));

  it("is tokenizer.model in its folder, in preference to tokenizer.json", async () => {
    const folder = folderOf({ ...hfFolder, "tokenizer.model": model, "tokenizer.json": json });
    expect((await findTokenizer(folder, 300)).path).toBe(join(folder, "tokenizer.model"));
  });

  it("is tokenizer.json where there is no other", async () => {
    const folder = folderOf({ ...hfFolder, "tokenizer.json": json });
    expect((await findTokenizer(folder, 300)).path).toBe(join(folder, "tokenizer.json"));
  });

  it("is the one inside a GGUF file, in preference to any beside it", async () => {
    const file = ggufBytes(ggufKeys(SHAPES.tiny, ggufTokenizer(300)), gguf.tensors);
    const folder = folderOf({ "model.gguf": file, "tokenizer.model": model });
    const path = join(folder, "model.gguf");
    expect((await findTokenizer(path, 300)).path).toBe(path);
    expect((await findTokenizer(folder, 300)).path).toBe(join(folder, "tokenizer.model"));
  });

  it("is tokenizer.model beside a checkpoint, after tokenizer.bin", async () => {
    const folder = folderOf({ "model.bin": hf.checkpoint, "tokenizer.model": model });
    expect((await findTokenizer(join(folder, "model.bin"), 300)).path).toBe(join(folder, "tokenizer.model"));
  });

  it("may have fewer tokens than a padded model has rows, which is reported", async () => {
    const folder = folderOf({ ...hfFolder, "tokenizer.model": sentencePieceBytes(pieces(290)) });
    const { tokenizer, note } = await findTokenizer(folder, 300);
    expect(tokenizer.vocab.slice(289)).toEqual(["\x0126", ...Array(10).fill("")]);
    expect(note).toMatch(/last 10 of the model's 300 tokens have no text/);
  });

  it.each([301, 200])("is refused with %d tokens for a model of 300 rows", async (count) => {
    const some = count > 263 ? pieces(count) : pieces(300).slice(0, count);
    const folder = folderOf({
      ...hfFolder,
      "tokenizer.model": sentencePieceBytes(some.map((piece) => ({ ...piece }))),
    });
    expect((await rejected("E_FORMAT", findTokenizer(folder, 300))).message).toMatch(`has ${count} tokens`);
  });

  it("of Llama 3 is refused by name", async () => {
    const folder = folderOf({ ...hfFolder, "tokenizer.model": "IQ== 0\nIg== 1\n" });
    expect((await rejected("E_FORMAT", findTokenizer(folder, 300))).message).toMatch(/Llama 3/);
  });
});

it.each([
  [
    "a Hugging Face folder",
    () => folderOf({ ...hfFolder, "tokenizer.model": sentencePieceBytes(pieces(290)) }),
    hf.checkpoint,
  ],
  [
    "a GGUF file",
    () => join(folderOf({ "m.gguf": ggufBytes(ggufKeys(SHAPES.tiny, ggufTokenizer(290)), gguf.tensors) }), "m.gguf"),
    gguf.checkpoint,
  ],
])("%s tells the story of the checkpoint it came from", async (_, make, checkpoint) => {
  const storyOf = async (path: string, tokenizer?: string) => {
    const model = await loadModel(path, { tokenizer });
    try {
      const generation = model.generate("ab", { seed: 3, maxTokens: 20 });
      let text = "";
      for await (const piece of generation) text += piece;
      return { text, tokens: generation.tokens, notes: model.notes };
    } finally {
      await model.dispose();
    }
  };
  const folder = folderOf({ "model.bin": checkpoint, "tok.model": sentencePieceBytes(pieces(290)) });
  const expected = await storyOf(join(folder, "model.bin"), join(folder, "tok.model"));
  const found = await storyOf(make());
  expect(found.tokens).toEqual(expected.tokens);
  expect(found.text).toBe(expected.text);
  expect(found.tokens.length).toBeGreaterThan(5);
  expect(found.notes.join()).toMatch(/last 10 of the model's 300 tokens/);
});

it("a v0 checkpoint needs no other file", async () => {
  const folder = folderOf({ "model.bin": makeCheckpoint(SHAPES.tiny), "config.json": "{", "params.json": "{" });
  const opened = await open(filesAt(join(folder, "model.bin")));
  expect(opened.format).toBe("llama2c-v0");
  opened.close();
});
