/*
 * Models of several gigabytes: how much is read of them on opening, and how much at once on loading. The files are
 * sparse: headers and holes.
 */
import { describe, expect, it } from "vitest";
import { openGgufModel, openHuggingFace } from "../../../src/checkpoint/foreign.ts";
import { Checkpoint } from "../../../src/checkpoint/llama2c/checkpoint.ts";
import { formatHeader } from "../../../src/checkpoint/llama2c/header.ts";
import { locateTensors } from "../../../src/checkpoint/llama2c/tensors.ts";
import { DEFAULTS } from "../../../src/llama2/transformer.ts";
import { shapesOf, tensorsOf, type WeightSource } from "../../../src/llama2/weights.ts";
import { ggufBytes, ggufKeys } from "../../helpers/formats/gguf.ts";
import { huggingFaceConfig } from "../../helpers/formats/model.ts";
import { memoryFile, sparseSource } from "../../helpers/formats/source.ts";

/** Llama 2 7B: dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen. */
const SHAPE = [4096, 11008, 32, 32, 32, 32000, 2048] as const;
const [dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen] = SHAPE;
const config = { dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen, ...DEFAULTS };

/** Begin to read each tensor: two pieces of the first layer. */
async function beginAll(source: WeightSource): Promise<number> {
  let numbers = 0;
  for (const { name } of tensorsOf(source)) {
    let pieces = 0;
    for await (const piece of source.pieces(name, 0, 16 * shapesOf(config)[name].n)) {
      numbers += "values" in piece ? piece.values.length : piece.q.length;
      if (++pieces === 2) break;
    }
  }
  return numbers;
}

/** Hugging Face's names and shapes, in layers. */
const NAMES: readonly (readonly [name: string, d: number, n: number])[] = [
  ["self_attn.q_proj", dim, dim],
  ["self_attn.k_proj", dim, dim],
  ["self_attn.v_proj", dim, dim],
  ["self_attn.o_proj", dim, dim],
  ["mlp.gate_proj", hiddenDim, dim],
  ["mlp.down_proj", dim, hiddenDim],
  ["mlp.up_proj", hiddenDim, dim],
  ["input_layernorm", 0, dim],
  ["post_attention_layernorm", 0, dim],
];

describe("a model of 7B parameters", () => {
  it("as safetensors of 13.5 GB: opening reads its header, loading at most a megabyte at once", async () => {
    const all = Array.from({ length: nLayers }, (_, layer) =>
      NAMES.map(([name, d, n]): readonly [string, number, number] => [`model.layers.${layer}.${name}.weight`, d, n]),
    ).flat();
    all.push(
      ["model.embed_tokens.weight", vocabSize, dim],
      ["lm_head.weight", vocabSize, dim],
      ["model.norm.weight", 0, dim],
    );
    let at = 0;
    const entries = all.map(([name, d, n]) => {
      const from = at;
      at += 2 * Math.max(1, d) * n;
      return [name, { dtype: "F16", shape: d === 0 ? [n] : [d, n], data_offsets: [from, at] }];
    });
    const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
    const head = Buffer.concat([Buffer.alloc(8), json]);
    head.writeBigUInt64LE(BigInt(json.length));
    const weights = sparseSource(head, head.length + at, "model.safetensors");
    expect(weights.size).toBeGreaterThan(13e9);
    const model = { shape: SHAPE, untied: true, checkpoint: new Uint8Array(), tensors: [] };
    const files: Record<string, ReturnType<typeof memoryFile>> = {
      "config.json": memoryFile(Buffer.from(huggingFaceConfig(model)), "config.json"),
      "model.safetensors": Object.assign(weights),
    };
    const names = Object.keys(files);
    const open = async (name: string) => files[name];
    const opened = await openHuggingFace({ name: "7B", list: async () => names, open }, names, open);
    const source = opened.weights();
    expect(weights.bytesRead).toBe(9 + json.length);
    expect(await beginAll(source)).toBeGreaterThan(1e6);
    expect(weights.largestRead).toBeLessThanOrEqual(1 << 20);
  });

  it.each([
    [0, 0],
    [1, 0],
    [2, 64],
  ] as const)(
    "as version %d: its header is read when it is opened, and a megabyte at once after that",
    async (version, groupSize) => {
      const header = { version, config, sharedClassifier: false, groupSize };
      const { fileBytes } = locateTensors(header, "7B.bin");
      const file = sparseSource(formatHeader(header), Number(fileBytes), "7B.bin");
      const source = await Checkpoint.open(file);
      expect(file.bytesRead).toBeLessThanOrEqual(512);
      expect(await beginAll(source)).toBeGreaterThan(1e6);
      expect(file.largestRead).toBeLessThanOrEqual(1 << 20);
    },
  );
});

it("a GGUF file of 8 GB: opening reads the first megabyte, which has its header", async () => {
  // one layer whose matrices are large
  const shape = [4096, 480_000, 1, 32, 32, 32_000, 2048] as const;
  const none = new Float32Array();
  const part = (name: string, ...sizes: number[]) => ({
    name: `${name}.weight`,
    type: "F16" as const,
    shape: sizes,
    values: none,
  });
  const tensors = [
    part("token_embd", 32_000, 4096),
    ...["attn_q", "attn_k", "attn_v", "attn_output"].map((name) => part(`blk.0.${name}`, 4096, 4096)),
    part("blk.0.ffn_gate", 480_000, 4096),
    part("blk.0.ffn_up", 480_000, 4096),
    part("blk.0.ffn_down", 4096, 480_000),
    ...["blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"].map((name) => part(name, 4096)),
  ];
  const head = ggufBytes(ggufKeys(shape), tensors);
  // the numbers are left out, so every tensor lies at 0: say where they would be
  let at = 0;
  const bytes = Buffer.from(head);
  for (const { name, shape: sizes } of tensors) {
    bytes.writeBigUInt64LE(BigInt(at), bytes.indexOf(name) + name.length + 4 + 8 * sizes.length + 4);
    at += 2 * sizes.reduce((product, size) => product * size, 1);
  }
  const file = sparseSource(bytes, bytes.length + at, "large.gguf");
  expect(file.size).toBeGreaterThan(8e9);
  const source = (await openGgufModel(file)).weights();
  expect(file.bytesRead).toBeLessThanOrEqual(1 << 20);
  for await (const piece of source.pieces("w2", 0, 480_000)) {
    expect("values" in piece && piece.values.length).toBe(480_000); // a row is more than a piece
    break;
  }
  expect(file.largestRead).toBeLessThanOrEqual(1 << 20);
});
