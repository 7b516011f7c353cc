/*
 * Files that are not a model, or not a tokenizer: they are refused, and the message says what they are.
 */
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { openTraining } from "../../../src/checkpoint/foreign.ts";
import { open } from "../../../src/checkpoint/open.ts";
import { parseAnyTokenizer } from "../../../src/checkpoint/tokenizer/read.ts";
import { filesOf } from "../../../src/files/bytes.ts";
import { makeCheckpoint, SHAPES } from "../../helpers/checkpoint.ts";
import { rejected } from "../../helpers/errors.ts";
import { ggufBytes, ggufKeys } from "../../helpers/formats/gguf.ts";
import { seededModel } from "../../helpers/formats/model.ts";
import { safetensorsBytes } from "../../helpers/formats/safetensors.ts";
import { SPECIAL, sentencePieceBytes, tokenizerJson } from "../../helpers/formats/sentencepiece.ts";
import { memoryFile } from "../../helpers/formats/source.ts";
import { addTensors, Pickle, storageEntries, torchBytes, torchZip } from "../../helpers/formats/torch.ts";
import { BYTE_VOCAB, tokenizerBytes } from "../../helpers/tokenizer.ts";

const v0 = makeCheckpoint(SHAPES.tiny);
const { tensors } = seededModel(SHAPES.tiny, "meta", "F16");
const latin1 = (text: string) => Buffer.from(text.padEnd(600, "\0"), "latin1");
const tar = Buffer.alloc(1024);
tar.write("storages");
tar.write("ustar", 257);

/** What is neither a model nor a tokenizer. */
const OTHERS: [name: string, bytes: Uint8Array, message: RegExp][] = [
  ["nothing", new Uint8Array(), /empty|0 tokens/],
  ["an HTML page", Buffer.from("<!DOCTYPE html><html>not found</html>"), /HTML page/],
  ["a Git LFS pointer", Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:00\n"), /Git LFS/],
  ["gzip", gzipSync(v0), /compressed with gzip. Unpack it first/],
  ["zstd", latin1("\x28\xb5\x2f\xfd"), /zstd/],
  ["xz", latin1("\xfd7zXZ\0"), /compressed with xz/],
  ["bzip2", latin1("BZh91AY&SY"), /bzip2/],
  ["7z", latin1("7z\xbc\xaf\x27\x1c"), /7z archive/],
  ["RAR", latin1("Rar!\x1a\x07\x01\0"), /RAR archive/],
  ["tar, PyTorch's first container", tar, /tar archive/],
  ["ggml's first files", latin1("lmgg"), /ggml/],
  ["ggml's second files", latin1("fmgg\x01"), /ggmf/],
  ["ggml's third files", latin1("tjgg\x03"), /ggjt/],
  ["an adapter of ggml's", latin1("algg\x01"), /LoRA adapter/],
  [
    "torch.save of PyTorch before 1.6",
    latin1("\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."),
    /before 1\.6/,
  ],
  ["a pickle by itself", addTensors(Pickle.begin(), tensors).end(), /pickle by itself/],
  [
    "two pickles one after the other",
    Buffer.concat([Pickle.begin().op("N").end(), addTensors(Pickle.begin(), tensors).end()]),
    /is n(o|ot) /,
  ],
  ["an array of NumPy", latin1("\x93NUMPY\x01\0"), /NumPy/],
  ["Keras's weights", latin1("\x89HDF\r\n\x1a\n"), /HDF5/],
  ["a document", latin1("%PDF-1.7"), /PDF/],
  ["a program", latin1("\x7fELF\x02"), /program/],
];

describe("refused as a model:", () => {
  it.each([
    ...OTHERS,
    ["a tokenizer.bin", tokenizerBytes(BYTE_VOCAB), /a tokenizer \(llama2\.c's tokenizer\.bin\)/] as const,
    ["a tokenizer.model", sentencePieceBytes(SPECIAL), /a tokenizer \(sentencepiece's tokenizer\.model\)/] as const,
    ["a tokenizer.json", Buffer.from(JSON.stringify(tokenizerJson(SPECIAL))), /JSON.*Name the folder/] as const,
    ["a tokenizer of Llama 3", Buffer.from("IQ== 0\nIg== 1\n".repeat(9)), /Llama 3/] as const,
    ["a config.json", Buffer.from(JSON.stringify({ model_type: "llama" }, null, 2)), /JSON.*Name the folder/] as const,
    ["a zip of something else", latin1("PK\x03\x04"), /not a file of torch\.save/] as const,
  ])("%s", async (_, bytes, message) => {
    expect((await rejected("E_FORMAT", open(filesOf("model.bin", bytes)))).message).toMatch(message);
  });
});

describe("refused as a tokenizer:", () => {
  it.each([
    ...OTHERS,
    ["a model of version 0", v0, /checkpoint of llama2\.c, which is a model/] as const,
    ["a model of version 1", latin1("24ka\x01"), /checkpoint of llama2\.c, which is a model/] as const,
    ["a GGUF file", ggufBytes(ggufKeys(SHAPES.tiny), []), /GGUF file/] as const,
    ["a safetensors file", safetensorsBytes(tensors), /safetensors file/] as const,
    ["a checkpoint of PyTorch", torchBytes(tensors), /zip file/] as const,
  ])("%s", async (_, bytes, message) => {
    expect((await rejected("E_FORMAT", parseAnyTokenizer(bytes, "tokenizer.bin"))).message).toMatch(message);
  });
});

it("a model whose dim has the bytes of a pickle's start is a model", async () => {
  const opened = await open(filesOf("model.bin", makeCheckpoint([640, 8, 1, 4, 4, 8, 4])));
  expect(opened.config.dim).toBe(640);
  opened.close();
});

it("tensors that share their numbers are refused, whatever their names", async () => {
  const shape = { dim: 16, n_layers: 2, n_heads: 4, n_kv_heads: 4, vocab_size: 300, max_seq_len: 32 };
  const pickle = Pickle.begin().raw(0x7d).put().op("(").text("model").orderedDict().put().op("(");
  tensors.forEach(({ name, shape: sizes, values }, key) => {
    // wk and wv of a layer are the same part of one storage
    const own = name === "layers.0.attention.wv.weight" ? tensors.findIndex((t) => /0.*wk/.test(t.name)) : key;
    const strides = sizes.length > 1 ? [sizes[1], 1] : [1];
    pickle.text(name).tensor((p) => p.storage("HalfStorage", `${own}`, values.length), 0, [...sizes], strides);
  });
  pickle.op("u").text("model_args").raw(0x7d).put().op("(");
  for (const [key, value] of Object.entries(shape)) pickle.text(key).whole(value);
  const bytes = torchZip(pickle.op("u").op("u").end(), storageEntries(tensors));
  const model = await openTraining(memoryFile(bytes, "ckpt.pt"));
  const refused = (async () => model.weights())();
  expect((await rejected("E_FORMAT", refused)).message).toMatch(/wk.* and .*wv.* share their numbers/);
});
