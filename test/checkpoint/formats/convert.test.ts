import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { open } from "../../../src/checkpoint/open.ts";
import { convert } from "../../../src/convert.ts";
import { filesAt } from "../../../src/files/disk.ts";
import { quantize } from "../../../src/quantize.ts";
import { makeCheckpoint, SHAPES } from "../../helpers/checkpoint.ts";
import { rejected } from "../../helpers/errors.ts";
import { ggufBytes, ggufKeys } from "../../helpers/formats/gguf.ts";
import { huggingFaceConfig, huggingFaceTensors, seededModel } from "../../helpers/formats/model.ts";
import { safetensorsBytes } from "../../helpers/formats/safetensors.ts";
import { expectSameModel } from "../../helpers/formats/same.ts";
import { SPECIAL, sentencePieceBytes } from "../../helpers/formats/sentencepiece.ts";
import { hasShared, needsShared, sharedFile } from "../../helpers/golden.ts";
import { tempDir } from "../../helpers/temp.ts";

function folderOf(contents: Record<string, Uint8Array | string>): string {
  const folder = join(tempDir(), "a-model");
  mkdirSync(folder);
  for (const [file, content] of Object.entries(contents)) writeFileSync(join(folder, file), content);
  return folder;
}

const model = seededModel(SHAPES.gqa, "hf", "BF16");
const pieces = [...SPECIAL, ...Array.from({ length: 253 }, (_, i) => ({ text: `p${i}`, score: -i }))];
const folder = (config: object = {}, normalizer?: Parameters<typeof sentencePieceBytes>[1]) =>
  folderOf({
    "config.json": huggingFaceConfig(model, config),
    "model.safetensors": safetensorsBytes(huggingFaceTensors(model)),
    "tokenizer.model": sentencePieceBytes(pieces, normalizer),
  });
const out = (name = "out.bin") => join(tempDir(), name);

async function expectModel(path: string, checkpoint: Uint8Array, format: string): Promise<void> {
  const opened = await open(filesAt(path));
  try {
    expect(opened.format).toBe(format);
    await expectSameModel(opened, checkpoint);
  } finally {
    opened.close();
  }
}

describe("a Hugging Face folder converted", () => {
  it("to version 0 is llama2.c's file of the same numbers, except RoPE's tables", async () => {
    const path = out();
    await convert(folder(), path, { to: "v0" });
    await expectModel(path, model.checkpoint, "llama2c-v0");
    const written = readFileSync(path);
    expect(written.length).toBe(model.checkpoint.length);
    const tables = 4 * SHAPES.gqa[6] * 8;
    const start = written.length - tables - 4 * 512 * 48;
    expect(written.subarray(0, start).equals(model.checkpoint.subarray(0, start))).toBe(true);
    expect(written.subarray(start + tables).equals(model.checkpoint.subarray(start + tables))).toBe(true);
    // position 0 is turned by nothing: cosines of 1, sines of 0
    expect(written.readFloatLE(start)).toBe(1);
    expect(written.readFloatLE(start + tables / 2)).toBe(0);
  });

  it("to version 1, the default, carries epsilon and theta", async () => {
    const path = out();
    const { config } = await convert(folder({ rms_norm_eps: 1e-6, rope_theta: 500 }), path);
    const opened = await open(filesAt(path));
    expect(opened.format).toBe("llama2c-v1");
    expect(opened.config).toEqual(config);
    expect(config).toMatchObject({ normEps: Math.fround(1e-6), ropeTheta: 500 });
    opened.close();
  });

  it.each([undefined, 8])(
    "to version 2 is what quantize makes from its version 0 (group size %s)",
    async (groupSize) => {
      const [v0, int8, expected] = [out(), out(), out()];
      await convert(folder(), v0, { to: "v0" });
      await convert(folder(), int8, { to: "v2", groupSize });
      await quantize(v0, expected, { groupSize });
      expect(readFileSync(int8).equals(readFileSync(expected))).toBe(true);
    },
  );

  it("takes another context, epsilon and theta", async () => {
    const { config } = await convert(folder(), out(), { context: 16, normEps: 1e-6, ropeTheta: 500 });
    expect(config).toMatchObject({ seqLen: 16, normEps: Math.fround(1e-6), ropeTheta: 500 });
  });

  it("gets its tokenizer beside it as tokenizer.bin", async () => {
    const path = out("stories.bin");
    const { tokenizer } = await convert(folder(), path);
    expect(tokenizer).toBe(path.replace("stories.bin", "stories.tokenizer.bin"));
  });

  it("gets a copy of its tokenizer where the format of tokenizer.bin cannot represent it", async () => {
    const path = out("stories.bin");
    const source = folder({}, []); // spaces in a row are one
    const { tokenizer } = await convert(source, path);
    expect(tokenizer).toBe(path.replace("stories.bin", "stories.tokenizer.model"));
    expect(readFileSync(tokenizer as string)).toEqual(readFileSync(join(source, "tokenizer.model")));
  });

  it("to version 0 is refused where that cannot store the epsilon", async () => {
    const path = out();
    const { message } = await rejected("E_FORMAT", convert(folder({ rms_norm_eps: 1e-6 }), path, { to: "v0" }));
    expect(message).toMatch(/norm epsilon 0.000001/);
    expect(existsSync(path)).toBe(false);
  });

  it("never overwrites itself", async () => {
    const source = folder();
    await rejected("E_USAGE", convert(source, source));
  });

  it.each(["config.json", "model.safetensors", "tokenizer.model"])("is not written over its %s", async (name) => {
    const source = folder();
    const path = join(source, name);
    const before = readFileSync(path);
    for (const to of ["v1", "v2"] as const) {
      expect((await rejected("E_USAGE", convert(source, path, { to }))).message).toContain("would replace");
    }
    if (name !== "tokenizer.model") await rejected("E_USAGE", quantize(source, path));
    expect(readFileSync(path)).toEqual(before);
  });

  it("fails with a typed error where a folder has its tokenizer's name", async () => {
    const path = out();
    mkdirSync(path.replace(".bin", ".tokenizer.model"));
    const added = folder({}, [[3, 0]]);
    const { message } = await rejected("E_FILE", convert(added, path));
    expect(message).toMatch(/tokenizer\.model: it is a directory/);
  });
});

describe("Q8_0 of GGUF converted", () => {
  const q8 = seededModel([64, 96, 2, 4, 2, 320, 32], "gguf", "Q8_0");
  const file = (some = q8) => join(folderOf({ "m.gguf": ggufBytes(ggufKeys(q8.shape), some.tensors) }), "m.gguf");

  it("to version 2 keeps its numbers and scales, bit for bit", async () => {
    const path = out();
    await convert(file(), path, { to: "v2" });
    const [one, other] = [await open(filesAt(path)), await open(filesAt(file()))];
    for (const name of ["wq", "tokenEmbeddingTable", "wcls"] as const) {
      expect(one.formatOf(name)).toEqual({ groupSize: 32 });
      const all = async (source: typeof one) => {
        const numbers: number[] = [];
        for await (const piece of source.pieces(name, 0, 32))
          if ("q" in piece) numbers.push(...piece.q, ...piece.scales);
        return numbers;
      };
      expect(await all(one)).toEqual(await all(other));
    }
    one.close();
    other.close();
  });

  it("to version 0 has the values of the blocks", async () => {
    const path = out();
    await convert(file(), path, { to: "v0" });
    await expectModel(path, q8.checkpoint, "llama2c-v0");
  });

  it("to version 2 in other groups, or where a matrix is float32, is refused by name", async () => {
    await rejected("E_USAGE", convert(file(), out(), { to: "v2", groupSize: 16 }));
    const mixed = {
      ...q8,
      tensors: q8.tensors.map((t) => (t.name === "output.weight" ? { ...t, type: "F16" as const } : t)),
    };
    const { message } = await rejected("E_FORMAT", convert(file(mixed), out(), { to: "v2" }));
    expect(message).toMatch(/int8 in groups of 32, wcls float32/);
  });
});

describe("a checkpoint converted to safetensors", () => {
  it("is a Hugging Face folder of the same model, without rounding", async () => {
    const source = join(folderOf({ "model.bin": makeCheckpoint(SHAPES.gqa, { untied: true }) }), "model.bin");
    const path = out("folder");
    await convert(source, path, { to: "safetensors" });
    expect(readdirSync(path).sort()).toEqual(["config.json", "model.safetensors"]);
    await expectModel(path, makeCheckpoint(SHAPES.gqa, { untied: true }), "hf");
  });

  it.each(["F16", "BF16"] as const)("keeps the type %s", async (type) => {
    const meta = seededModel(SHAPES.tiny, "hf", type, { untied: false });
    const source = folderOf({
      "config.json": huggingFaceConfig(meta),
      "model.safetensors": safetensorsBytes(huggingFaceTensors(meta)),
      "tokenizer.model": sentencePieceBytes(pieces),
    });
    const path = out("folder");
    await convert(source, path, { to: "safetensors" });
    await expectModel(path, meta.checkpoint, "hf");
    const entries = safetensorsHeader(path);
    expect(new Set(Object.values(entries).map(({ dtype }) => dtype))).toEqual(new Set([type]));
  });

  it("contains its tokenizer, and never replaces a folder", async () => {
    const path = out("folder");
    const { tokenizer } = await convert(folder(), path, { to: "safetensors" });
    expect(tokenizer).toBe(join(path, "tokenizer.bin"));
    await rejected("E_FILE", convert(folder(), path, { to: "safetensors" }));
  });

  it("leaves nothing behind when it is stopped", async () => {
    const path = out("folder");
    const controller = new AbortController();
    const stopped = convert(folder(), path, {
      to: "safetensors",
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(stopped).rejects.toThrow(/abort/);
    expect(readdirSync(join(path, ".."))).toEqual([]);
  });
});

it.skipIf(!hasShared)(
  `Llama 2's tokenizer.model becomes llama2.c's tokenizer.bin, byte for byte${needsShared}`,
  async () => {
    const llama = seededModel([8, 8, 1, 2, 2, 32000, 8], "hf", "F16", { untied: false });
    const source = folderOf({
      "config.json": huggingFaceConfig(llama),
      "model.safetensors": safetensorsBytes(huggingFaceTensors(llama)),
      "tokenizer.model": readFileSync(sharedFile("models/tokenizer.model")),
    });
    const { tokenizer } = await convert(source, out());
    expect(readFileSync(tokenizer as string).equals(readFileSync(sharedFile("models/tokenizer.bin")))).toBe(true);
  },
);

function safetensorsHeader(folder: string): Record<string, { dtype: string }> {
  const bytes = readFileSync(join(folder, "model.safetensors"));
  const { __metadata__: _, ...entries } = JSON.parse(
    bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))).toString(),
  );
  return entries;
}
