/*
 * Proofs of conversions, from every source to every target. The fixtures were written by PyTorch, which also
 * computed their logits (test/fixtures/torch/make.py).
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Recognised, recognise } from "../../src/checkpoint/open.ts";
import { convert } from "../../src/convert.ts";
import { filesAt } from "../../src/files/disk.ts";
import { forward } from "../../src/llama2/transformer.ts";
import { loadTransformer } from "../../src/llama2/weights.ts";
import { naiveLogits } from "../../src/prove/naive.ts";
import { originalsOf } from "../../src/prove/originals.ts";
import { prove } from "../../src/prove/prove.ts";
import { streamedLogits } from "../../src/prove/streamed.ts";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";
import { llama2 } from "../helpers/cli.ts";
import { rejected } from "../helpers/errors.ts";
import { ggufBytes, ggufKeys } from "../helpers/formats/gguf.ts";
import { huggingFaceConfig, huggingFaceTensors, seededModel } from "../helpers/formats/model.ts";
import { safetensorsBytes } from "../helpers/formats/safetensors.ts";
import { tempDir } from "../helpers/temp.ts";
import { versionFile } from "../helpers/versions.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures/torch");
const pytorch: { tokens: number[]; logits: Record<string, number[][]> } = JSON.parse(
  readFileSync(join(FIXTURES, "logits.json"), "utf8"),
);
const out = (name = "out.bin") => join(tempDir(), name);

function folderOf(contents: Record<string, Uint8Array | string>): string {
  const folder = join(tempDir(), "a-model");
  mkdirSync(folder);
  for (const [file, content] of Object.entries(contents)) writeFileSync(join(folder, file), content);
  return folder;
}

/** What `work` makes of the open model at `path`. */
async function withModel<T>(path: string, work: (model: Recognised) => Promise<T>): Promise<T> {
  const model = await recognise(filesAt(path));
  try {
    return await work(model);
  } finally {
    model.close();
  }
}

describe("the plain float64 pass over the original tensors", () => {
  it.each(Object.keys(pytorch.logits))("of %s computes what PyTorch does", (name) =>
    withModel(join(FIXTURES, name), async (model) => {
      const { config, sharedClassifier } = model.weights();
      const classifier = sharedClassifier ? "tokenEmbeddingTable" : "wcls";
      const found = await naiveLogits(originalsOf(model), config, classifier, pytorch.tokens);
      found.forEach((logits, position) => {
        const right = pytorch.logits[name][position];
        const largest = Math.max(...right.map(Math.abs));
        expect(Math.max(...right.map((value, i) => Math.abs(value - logits[i]))) / largest).toBeLessThan(1e-9);
      });
    }),
  );
});

describe("the streamed float32 pass", () => {
  it.each([0, 1] as const)("over version %d computes the reference's bits", async (version) => {
    const path = await versionFile(version, SHAPES.gqa, { untied: version === 1 });
    await withModel(path, async (model) => {
      const tokens = [1, 7, 250, 3, 99, 0, 12];
      const transformer = await loadTransformer(model.weights());
      const expected = tokens.map((token, position) => forward(transformer, token, position).slice());
      expect(await streamedLogits(model.weights(), tokens)).toEqual(expected);
    });
  });
});

const hf = seededModel(SHAPES.gqa, "hf", "BF16");
const q8 = seededModel([64, 96, 2, 4, 2, 320, 32], "gguf", "Q8_0");
const f16 = seededModel([64, 96, 2, 4, 2, 320, 32], "gguf", "F16", { norms: "F32" });
const SOURCES: [name: string, path: () => string | Promise<string>][] = [
  ...Object.keys(pytorch.logits).map((name): [string, () => string] => [name, () => join(FIXTURES, name)]),
  [
    "a safetensors folder",
    () =>
      folderOf({
        "config.json": huggingFaceConfig(hf, { rms_norm_eps: 1e-6, rope_theta: 500 }),
        "model.safetensors": safetensorsBytes(huggingFaceTensors(hf)),
      }),
  ],
  ["GGUF of F16", () => join(folderOf({ "m.gguf": ggufBytes(ggufKeys(f16.shape), f16.tensors) }), "m.gguf")],
  ["GGUF of Q8_0", () => join(folderOf({ "m.gguf": ggufBytes(ggufKeys(q8.shape), q8.tensors) }), "m.gguf")],
  ["version 0", () => checkpointFile(SHAPES.gqa, { untied: true })],
  ["version 1", () => versionFile(1, SHAPES.gqa)],
  ["version 2", () => versionFile(2, SHAPES.gqa, { groupSize: 16 })],
];

describe.each(SOURCES)("a conversion of %s", (name, path) => {
  it.each(["v1", "safetensors"] as const)("as %s is proved", async (to) => {
    const { proof } = await convert(await path(), out("converted"), { to, prove: true });
    expect(proof?.tokens).toHaveLength(8);
    expect(proof?.error).toBeLessThan(1e-5);
    expect(proof?.error).toBeGreaterThan(0);
    expect(proof?.rounding).toBeUndefined();
  });

  it("to v2 is proved against the rounded original tensors, and the effect of the rounding is reported", async () => {
    const { proof } = await convert(await path(), out(), { to: "v2", prove: true });
    expect(proof?.error).toBeLessThan(1e-5);
    const isInt8 = name === "GGUF of Q8_0" || name === "version 2";
    if (isInt8) expect(proof?.rounding).toBeUndefined();
    else expect(proof?.rounding).toBeGreaterThan(1e-4);
  });
});

it("v2 is proved in groups that straddle rows, of pairs that lie apart in the original", async () => {
  // 48 columns are one and a half groups
  const source = folderOf({
    "config.json": huggingFaceConfig(hf),
    "model.safetensors": safetensorsBytes(huggingFaceTensors(hf)),
  });
  const { proof } = await convert(source, out(), { to: "v2", groupSize: 32, prove: true });
  expect(proof?.error).toBeLessThan(1e-5);
});

it.each(["v1", "safetensors"] as const)("another epsilon, theta and context are proved as well (%s)", async (to) => {
  const changes = { normEps: 1e-3, ropeTheta: 77, context: 5 };
  const { proof } = await convert(join(FIXTURES, "hf-fp16"), out("converted"), { to, prove: true, ...changes });
  expect(proof?.tokens).toHaveLength(5);
  expect(proof?.error).toBeLessThan(1e-5);
});

describe("a proof fails", () => {
  const source = () =>
    folderOf({
      "config.json": huggingFaceConfig(hf),
      "model.safetensors": safetensorsBytes(huggingFaceTensors(hf)),
    });
  /** A proof that the file at `written` is the model at `from`. */
  const proofOf = (from: string, written: string) =>
    withModel(from, (model) => prove(model, model.weights(), model.weights().config, written));

  it("if q and k kept the original's order of rows", async () => {
    // tensors that say that they are in Meta's order already
    const wrong = folderOf({
      "config.json": huggingFaceConfig(hf),
      "model.safetensors": safetensorsBytes(hf.tensors),
    });
    const written = out();
    await convert(wrong, written);
    const { message } = await rejected("E_NUMERIC", proofOf(source(), written));
    expect(message).toMatch(/does not compute what the original does: the logits differ by/);
  });

  it("if a single row was lost", async () => {
    const written = out();
    await convert(source(), written);
    const bytes = readFileSync(written);
    bytes.fill(0, bytes.length - 4 * 48, bytes.length); // of the classifier
    writeFileSync(written, bytes);
    await rejected("E_NUMERIC", proofOf(source(), written));
  });

  it("if int8 numbers are off by one", async () => {
    const written = out();
    await convert(source(), written, { to: "v2" });
    const bytes = readFileSync(written);
    const at = 256 + 4 * 48 * 7; // behind the norms: the embedding of token 0 and those that follow
    for (let i = at; i < at + 512 * 48; i++) bytes.writeInt8(Math.max(-127, bytes.readInt8(i) - 1), i);
    writeFileSync(written, bytes);
    await rejected("E_NUMERIC", proofOf(source(), written));
  });

  it("if there is a NaN", async () => {
    const broken = seededModel(SHAPES.tiny, "hf", "F32");
    broken.tensors.find(({ name }) => name === "model.norm.weight")?.values.fill(Number.NaN);
    const from = folderOf({
      "config.json": huggingFaceConfig(broken),
      "model.safetensors": safetensorsBytes(huggingFaceTensors(broken)),
    });
    await rejected("E_NUMERIC", convert(from, out(), { prove: true }));
  });
});

describe("llama2 import --prove", () => {
  it("prints the largest relative error on stderr", async () => {
    const { stdout, stderr, code } = await llama2(["import", join(FIXTURES, "hf-fp16"), out(), "--prove"]);
    expect({ stdout: stdout.toString(), code }).toEqual({ stdout: "", code: 0 });
    expect(stderr).toMatch(
      /proved against the original tensors: largest relative error \d\.\de-0?[6789], on the tokens 1, /,
    );
  });

  it("prints what the rounding to int8 changes", async () => {
    const { stderr, code } = await llama2(["import", join(FIXTURES, "meta-fp16"), out(), "--to", "v2", "--prove"]);
    expect(code).toBe(0);
    expect(stderr).toMatch(/tensors rounded as v2 has them: .* The rounding itself moves the logits by \d\.\de-[234]/);
  });

  it("exits with code 1 if the proof fails", async () => {
    const path = checkpointFile(SHAPES.tiny);
    const bytes = readFileSync(path);
    bytes.writeFloatLE(Number.NaN, 28 + 4 * 300 * 16); // the first norm
    writeFileSync(path, bytes);
    const { stderr, code } = await llama2(["convert", path, out(), "--prove"]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/does not compute.*\(E_NUMERIC\)\n$/) });
  });
});
