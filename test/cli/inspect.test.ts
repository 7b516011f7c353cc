import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { makeCheckpoint, SHAPES } from "../helpers/checkpoint.ts";
import { llama2 } from "../helpers/cli.ts";
import { ggufBytes, ggufKeys } from "../helpers/formats/gguf.ts";
import { huggingFaceConfig, huggingFaceTensors, seededModel } from "../helpers/formats/model.ts";
import { safetensorsBytes } from "../helpers/formats/safetensors.ts";
import { SPECIAL, sentencePieceBytes } from "../helpers/formats/sentencepiece.ts";
import { tempDir } from "../helpers/temp.ts";

const hf = seededModel(SHAPES.tiny, "hf", "BF16");

function folderOf(contents: Record<string, Uint8Array | string>): string {
  const folder = join(tempDir(), "a-model");
  mkdirSync(folder);
  for (const [file, content] of Object.entries(contents)) writeFileSync(join(folder, file), content);
  return folder;
}

const pieces = [...SPECIAL, ...Array.from({ length: 41 }, (_, i) => ({ text: `p${i}` }))];
const folder = (config: object = {}) =>
  folderOf({
    "config.json": huggingFaceConfig(hf, config),
    "model.safetensors": safetensorsBytes(huggingFaceTensors(hf)),
    "tokenizer.model": sentencePieceBytes(pieces),
  });

async function inspected(path: string, ...flags: string[]) {
  const { stdout, stderr, code } = await llama2(["inspect", path, "--json", ...flags]);
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  return JSON.parse(stdout.toString());
}

describe("llama2 inspect", () => {
  it("prints no control characters of a file", async () => {
    const named = { name: "\u001b[2J\u009b31m\u202e", type: "F16" as const, shape: [1], values: new Float32Array(1) };
    const path = folderOf({
      "config.json": huggingFaceConfig(hf, { model_type: "ll\u001b]0;x\u0007ama" }),
      "model.safetensors": safetensorsBytes([...huggingFaceTensors(hf), named]),
    });
    const { stdout, stderr, code } = await llama2(["inspect", path, "--tensors"]);
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    expect(stdout.toString()).toMatch(/architecture: ll ]0;x ama/);
    expect(stdout.toString().replace(/[\n\t]/g, "")).not.toMatch(/\p{C}/u);
  });

  it("describes a Hugging Face folder", async () => {
    const path = folder();
    const found = await inspected(path);
    expect(found).toMatchObject({
      name: "a-model",
      format: "hf",
      architecture: "llama",
      config: {
        dim: 16,
        hiddenDim: 40,
        nLayers: 2,
        nHeads: 4,
        nKvHeads: 4,
        vocabSize: 300,
        seqLen: 32,
        ropeTheta: 10000,
      },
      parameters: 2 * 300 * 16 + 2 * (2 * 16 + 4 * 16 * 16 + 3 * 16 * 40) + 16,
      tensors: 21,
      dtypes: { BF16: 21 },
      tokenizer: { kind: "sentencepiece", path: join(path, "tokenizer.model"), vocabSize: 300 },
      runs: true,
      refused: [],
    });
    expect(found.files.map(({ path }: { path: string }) => path)).toContain(join(path, "model.safetensors"));
    expect(found.tensorList).toBeUndefined();
  });

  it("lists the tensors if asked to", async () => {
    const path = join(folderOf({ "model.bin": makeCheckpoint(SHAPES.gqa) }), "model.bin");
    const { format, tensorList } = await inspected(path, "--tensors");
    expect(format).toBe("llama2c-v0");
    expect(tensorList[0]).toEqual({
      name: "tokenEmbeddingTable",
      dtype: "F32",
      shape: [512, 48],
      offset: 28,
      bytes: 98304,
    });
    expect(tensorList[3]).toMatchObject({ name: "wk", shape: [3, 16, 48] });
    const { stdout } = await llama2(["inspect", path, "--tensors"]);
    expect(stdout.toString()).toContain("wk\tF32\t[3, 16, 48]\t");
  });

  it("says why a model of a known format would be refused, and exits with 0", async () => {
    const found = await inspected(folder({ rope_scaling: { type: "linear", factor: 4 } }));
    expect(found).toMatchObject({ format: "hf", runs: false, refused: [{ code: "E_FORMAT" }], tokenizer: null });
    expect(found.refused[0].reason).toContain("scaled RoPE");
    const { stdout } = await llama2(["inspect", folder({ model_type: "mistral" })]);
    expect(stdout.toString()).toMatch(/^runs: no\nrefused: .*mistral.*\(E_FORMAT\)$/m);
    expect(stdout.toString()).toMatch(/^architecture: mistral$/m);
  });

  it("names GGUF's types that cannot be read", async () => {
    const bytes = ggufBytes(ggufKeys(SHAPES.tiny), seededModel(SHAPES.tiny, "gguf", "F32").tensors);
    const at = Buffer.from(bytes).indexOf("token_embd.weight") + "token_embd.weight".length + 4 + 16;
    new DataView(bytes.buffer).setUint32(at, 12, true);
    const found = await inspected(join(folderOf({ "model.gguf": bytes }), "model.gguf"));
    expect(found.dtypes).toEqual({ F32: 20, Q4_K: 1 });
    expect(found.refused[0].reason).toContain("token_embd.weight");
  });

  it("fails for a file that it does not recognise", async () => {
    const path = join(folderOf({ "model.bin": "no model" }), "model.bin");
    const { code, stderr } = await llama2(["inspect", path]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^llama2: .*\(E_FORMAT\)\n$/);
  });
});
