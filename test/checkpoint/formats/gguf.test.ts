import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openGgufModel } from "../../../src/checkpoint/foreign.ts";
import { openGguf } from "../../../src/checkpoint/gguf.ts";
import { Llama2Error } from "../../../src/errors.ts";
import { shapesOf } from "../../../src/llama2/weights.ts";
import { SHAPES } from "../../helpers/checkpoint.ts";
import { rejected } from "../../helpers/errors.ts";
import { Bytes, type GgufEntry, type GgufOptions, ggufBytes, ggufKeys } from "../../helpers/formats/gguf.ts";
import { type SeededModel, seededModel } from "../../helpers/formats/model.ts";
import { blocksOf, type TensorToWrite } from "../../helpers/formats/numbers.ts";
import { expectSameModel } from "../../helpers/formats/same.ts";
import { memoryFile } from "../../helpers/formats/source.ts";

const fileOf = (model: SeededModel, changes: readonly GgufEntry[] = [], options: GgufOptions = {}) =>
  ggufBytes(ggufKeys(model.shape, changes), model.tensors, options);
const open = async (bytes: Uint8Array) => ({
  weights: (await openGgufModel(memoryFile(bytes, "model.gguf"))).weights(),
});

/** dim and hiddenDim are multiples of 32. */
const Q8_SHAPE = [64, 96, 2, 4, 2, 320, 32] as const;

describe("a GGUF file is the same model as the checkpoint it came from", () => {
  it.each(["F32", "F16", "BF16"] as const)("stored as %s", async (type) => {
    const model = seededModel(SHAPES.gqa, "gguf", type, { norms: "F32" });
    await expectSameModel((await open(fileOf(model))).weights, model.checkpoint);
  });

  it("of version 2, with another alignment, and without a classifier", async () => {
    const model = seededModel(SHAPES.tiny, "gguf", "F16", { untied: false });
    const bytes = fileOf(model, [["general.alignment", 4, 64]], { version: 2, alignment: 64 });
    await expectSameModel((await open(bytes)).weights, model.checkpoint);
  });

  it("with a header longer than the first read", async () => {
    const model = seededModel(SHAPES.tiny, "gguf", "F32");
    const items = Array.from({ length: 100_000 }, (_, i) => `a piece of a vocabulary ${i}`);
    const bytes = fileOf(model, [["tokenizer.ggml.merges", 9, { type: 8, items }]]);
    await expectSameModel((await open(bytes)).weights, model.checkpoint);
  });
});

describe("Q8_0", () => {
  const model = seededModel(Q8_SHAPE, "gguf", "Q8_0");

  it("stays int8, with the file's groups and bits", async () => {
    const { weights } = await open(fileOf(model));
    expect(weights.formatOf("wq")).toEqual({ groupSize: 32 });
    expect(weights.formatOf("rmsAttWeight")).toBe("float32");
    for (const multipleOf of [1, 32, 64, 96, 1000]) {
      const q: number[] = [];
      const scales: number[] = [];
      let lengths = 0;
      for await (const piece of weights.pieces("w2", 1, multipleOf)) {
        if (!("q" in piece)) throw new Error("float32");
        expect(piece.offset).toBe(lengths);
        lengths += piece.q.length;
        q.push(...piece.q);
        scales.push(...piece.scales);
        if (lengths < 64 * 96) expect(piece.q.length % multipleOf).toBe(0);
      }
      const blocks = blocksOf(
        model.tensors.find(({ name }) => name === "blk.1.ffn_down.weight")?.values ?? new Float32Array(),
      );
      expect(q).toEqual(blocks.flatMap((block) => [...block.q]));
      expect(scales).toEqual(blocks.map(({ scale }) => scale));
    }
  });

  it("becomes float32 where not all layers are int8, with the values of the blocks", async () => {
    const mixed = {
      ...model,
      tensors: model.tensors.map((t): TensorToWrite => (/blk\.0/.test(t.name) ? { ...t, type: "F32" } : t)),
    };
    const { weights } = await open(fileOf(mixed));
    expect(weights.formatOf("wq")).toBe("float32");
    expect(weights.formatOf("wcls")).toEqual({ groupSize: 32 });
    const all = { ...mixed, tensors: mixed.tensors.map((t): TensorToWrite => ({ ...t, type: "F32" })) };
    await expectSameModel((await open(fileOf(all))).weights, model.checkpoint);
    const numbers = new Float32Array(shapesOf(weights.config).w1.d * shapesOf(weights.config).w1.n);
    for await (const piece of weights.pieces("w1", 1, 1))
      if ("values" in piece) numbers.set(piece.values, piece.offset);
    expect(numbers).toEqual(model.tensors.find(({ name }) => name === "blk.1.ffn_gate.weight")?.values);
  });
});

describe("the keys of a GGUF file", () => {
  const model = seededModel(SHAPES.tiny, "gguf", "F32");
  it("epsilon and theta are carried", async () => {
    const { weights } = await open(
      fileOf(model, [
        ["llama.attention.layer_norm_rms_epsilon", 6, 1e-6],
        ["llama.rope.freq_base", 6, 500],
      ]),
    );
    expect(weights.config).toMatchObject({ normEps: Math.fround(1e-6), ropeTheta: 500 });
  });

  it.each<[string, GgufEntry[], RegExp]>([
    ["another architecture", [["general.architecture", 8, "qwen2"]], /architecture is "qwen2"/],
    ["a part of several files", [["split.count", 4, 3]], /one part of several/],
    ["a mixture of experts", [["llama.expert_count", 4, 8]], /experts/],
    ["scaled RoPE", [["llama.rope.scaling.type", 8, "linear"]], /scaled RoPE/],
    ["a partial RoPE", [["llama.rope.dimension_count", 4, 2]], /dimension_count is 2/],
    ["another size of heads", [["llama.attention.key_length", 4, 8]], /key_length is 8/],
    ["a size as text", [["llama.embedding_length", 8, "16"]], /embedding_length is "16"/],
    ["a size of 0", [["llama.block_count", 4, 0]], /block_count is 0/],
    ["a list of heads", [["llama.attention.head_count", 9, { type: 4, items: [4, 4] }]], /head_count is not a number/],
    ["RoPE factors", [], /rope_freqs.weight/],
    ["more layers", [["llama.block_count", 4, 3]], /has no blk.2/],
  ])("%s is refused by name", async (what, changes, message) => {
    const extra: TensorToWrite = { name: "rope_freqs.weight", type: "F32", shape: [2], values: new Float32Array(2) };
    const changed = what === "RoPE factors" ? { ...model, tensors: [...model.tensors, extra] } : model;
    expect((await rejected("E_FORMAT", open(fileOf(changed, changes)))).message).toMatch(message);
  });
});

/** A file of any head. */
const raw = (write: (bytes: Bytes) => void) => {
  const bytes = new Bytes().add(Buffer.from("GGUF"));
  write(bytes);
  return bytes.add(new Uint8Array(128)).bytes();
};
const info = (
  bytes: Bytes,
  { name = "a", dims = [8] as (number | bigint)[], type = 0, offset = 0 as number | bigint } = {},
) => {
  bytes.text(name).uint32(dims.length);
  for (const size of dims) bytes.uint64(size);
  return bytes.uint32(type).uint64(offset);
};
const head = (tensors: number | bigint, values: number | bigint, write: (bytes: Bytes) => void = () => {}) =>
  raw((bytes) => write(bytes.uint32(3).uint64(tensors).uint64(values)));

describe("a GGUF file is refused with", () => {
  it.each([
    ["another magic", Buffer.from("GGML\x03\0\0\0"), /does not begin with GGUF/],
    ["version 1", raw((b) => b.uint32(1)), /version 1/],
    ["version 4", raw((b) => b.uint32(4)), /version 4/],
    ["big-endian numbers", raw((b) => b.uint32(3 << 24)), /big-endian/],
    ["more tensors than bytes", head(1000, 0), /1000 tensors follow/],
    ["2^64 - 1 tensors", head(2n ** 64n - 1n, 0), /number of tensors is 18446744073709551615/],
    ["more values than bytes", head(0, 1000), /1000 values follow/],
    ["a key past the end", head(0, 1, (b) => b.uint64(10_000)), /ends too early/],
    ["a key of 2^60 letters", head(0, 1, (b) => b.uint64(2n ** 60n)), /length of a text is/],
    ["a key that is not UTF-8", head(0, 1, (b) => b.uint64(1).uint8(0xff)), /UTF-8/],
    ["a key twice", head(0, 2, (b) => b.text("a").uint32(0).uint8(1).text("a").uint32(0).uint8(1)), /"a" twice/],
    ["a type that is not known", head(0, 1, (b) => b.text("a").uint32(13)), /type 13/],
    ["an array of arrays", head(0, 1, (b) => b.text("a").uint32(9).uint32(9).uint64(1)), /array of arrays/],
    ["an array of a type that is not known", head(0, 1, (b) => b.text("a").uint32(9).uint32(99).uint64(1)), /type 99/],
    [
      "an array longer than the file",
      head(0, 1, (b) => b.text("a").uint32(9).uint32(4).uint64(10_000)),
      /10000 items of "a" follow/,
    ],
    [
      "an array of texts longer than the file",
      head(0, 1, (b) =>
        b
          .text("a")
          .uint32(9)
          .uint32(8)
          .uint64(2n ** 40n),
      ),
      /items of "a" follow/,
    ],
    ["an alignment of 0", head(0, 1, (b) => b.text("general.alignment").uint32(4).uint32(0)), /alignment is 0/],
    [
      "an alignment that is not a power of two",
      head(0, 1, (b) => b.text("general.alignment").uint32(4).uint32(48)),
      /alignment is 48/,
    ],
    [
      "an alignment that a terminal would obey",
      head(0, 1, (b) => b.text("general.alignment").uint32(8).text("\u001b[2J")),
      /alignment is " \[2J", expected/,
    ],
    [
      "an alignment that is text",
      head(0, 1, (b) => b.text("general.alignment").uint32(8).text("32")),
      /alignment is "32", expected/,
    ],
    ["a tensor without dimensions", head(1, 0, (b) => info(b, { dims: [] })), /0 dimensions/],
    ["a tensor of five dimensions", head(1, 0, (b) => info(b, { dims: [1, 1, 1, 1, 1] })), /5 dimensions/],
    ["a dimension beyond 2^53", head(1, 0, (b) => info(b, { dims: [2n ** 63n] })), /a dimension of "a"/],
    ["a product that wraps", head(1, 0, (b) => info(b, { dims: [2 ** 32, 2 ** 32] })), /takes .* bytes/],
    ["a tensor's type that is not known", head(1, 0, (b) => info(b, { type: 4 })), /type 4/],
    ["an incomplete block", head(1, 0, (b) => info(b, { type: 8, dims: [33] })), /multiple of 32/],
    ["an offset past the end", head(1, 0, (b) => info(b, { offset: 2 ** 20 })), /ends at byte/],
    ["an offset beyond 2^53", head(1, 0, (b) => info(b, { offset: 2n ** 63n })), /offset of "a"/],
    ["an offset that is not aligned", head(1, 0, (b) => info(b, { offset: 4 })), /not at a multiple/],
    [
      "tensors that overlap",
      head(2, 0, (b) => info(info(b, { dims: [9] }), { name: "b", dims: [2] })),
      /begins within/,
    ],
    ["a tensor twice", head(2, 0, (b) => info(info(b), { offset: 32 })), /"a" twice/],
  ])("%s", async (_, bytes, message) => {
    const file = memoryFile(bytes, "model.gguf");
    expect((await rejected("E_FORMAT", openGguf(file))).message).toMatch(message);
  });

  it.each([
    [2, "Q4_0"],
    [12, "Q4_K"],
    [14, "Q6_K"],
    [20, "IQ4_NL"],
  ])("type %d, which is named as %s", async (type, name) => {
    const model = seededModel(SHAPES.tiny, "gguf", "F32");
    const bytes = fileOf(model);
    const at = Buffer.from(bytes).indexOf("token_embd.weight") + "token_embd.weight".length + 4 + 16;
    new DataView(bytes.buffer).setUint32(at, type, true);
    expect((await rejected("E_FORMAT", open(bytes))).message).toMatch(`is ${name}, and F32, F16`);
  });

  it("a file that is cut short at any byte", async () => {
    const model = seededModel([8, 8, 1, 2, 2, 8, 4], "gguf", "F32");
    const bytes = fileOf(model);
    for (let length = 0; length < bytes.length; length++) await rejected("E_FORMAT", open(bytes.slice(0, length)));
  });

  it("30,000 tensors", async () => {
    const bytes = head(30_000, 0, (b) => {
      for (let i = 0; i < 30_000; i++) info(b, { name: `t${i}` });
    });
    await rejected("E_LIMIT", openGguf(memoryFile(bytes, "model.gguf")));
  });
});

it("a damaged GGUF file is refused with a typed error, or all its tensors lie within it", async () => {
  const model = seededModel([8, 8, 1, 2, 2, 8, 4], "gguf", "F16");
  const tokens: GgufEntry = ["tokenizer.ggml.tokens", 9, { type: 8, items: ["<unk>", "<s>", "</s>"] }];
  const good = fileOf(model, [tokens]);
  const headBytes = good.length - model.tensors.reduce((sum, { values }) => sum + 2 * values.length, 0);
  const change = fc.record({
    at: fc.nat(headBytes),
    bytes: fc.oneof(
      fc.array(fc.nat(255), { minLength: 1, maxLength: 2 }),
      fc.constantFrom(
        [255, 255, 255, 255, 255, 255, 255, 255],
        [0, 0, 0, 0],
        [9, 0, 0, 0],
        [8, 0, 0, 0],
        [32],
        [0, 0, 0, 0, 0, 0, 0, 128],
      ),
    ),
  });
  const outcomes: Record<string, number> = {};
  const property = fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 2 }), async (changes) => {
    const bytes = good.slice();
    for (const { at, bytes: some } of changes) bytes.set(some.slice(0, bytes.length - at), at);
    const did = await openGguf(memoryFile(bytes, "model.gguf")).then(
      ({ tensors }) => {
        for (const { offset, bytes: size } of tensors.values()) expect(offset + size).toBeLessThanOrEqual(bytes.length);
        return "opened";
      },
      (error: unknown) => {
        if (error instanceof Llama2Error) return error.code;
        throw error;
      },
    );
    outcomes[did] = (outcomes[did] ?? 0) + 1;
  });
  await fc.assert(property, { seed: 23, numRuns: 5000 });
  expect(outcomes.opened).toBeGreaterThan(100);
  expect(outcomes.E_FORMAT).toBeGreaterThan(500);
});
