import { describe, expect, it } from "vitest";
import { openHuggingFace } from "../../../src/checkpoint/foreign.ts";
import { SHAPES } from "../../helpers/checkpoint.ts";
import { rejected } from "../../helpers/errors.ts";
import { huggingFaceConfig, huggingFaceTensors, type SeededModel, seededModel } from "../../helpers/formats/model.ts";
import { safetensorsBytes } from "../../helpers/formats/safetensors.ts";
import { expectSameModel } from "../../helpers/formats/same.ts";
import { memoryFiles } from "../../helpers/formats/source.ts";
import { torchBytes } from "../../helpers/formats/torch.ts";

async function open(contents: Record<string, Uint8Array | string>) {
  const files = memoryFiles(contents, "a-model");
  return (await openHuggingFace(files, await files.list(), files.open)).weights();
}

const folderOf = (model: SeededModel, config: object = {}) => ({
  "config.json": huggingFaceConfig(model, config),
  "model.safetensors": safetensorsBytes(huggingFaceTensors(model)),
});

describe("a Hugging Face folder is the same model as the checkpoint it came from", () => {
  it.each(["F32", "F16", "BF16"] as const)("stored as %s", async (type) => {
    const model = seededModel(SHAPES.gqa, "hf", type);
    await expectSameModel(await open(folderOf(model)), model.checkpoint);
  });

  it.each(["tiny", "gqa", "mqa"])("with the heads of %s", async (shape) => {
    const model = seededModel(SHAPES[shape], "hf", "F16", { seed: 5 });
    await expectSameModel(await open(folderOf(model)), model.checkpoint);
  });

  it("with the classifier tied, and absent", async () => {
    const model = seededModel(SHAPES.gqa, "hf", "BF16", { untied: false });
    await expectSameModel(await open(folderOf(model)), model.checkpoint);
  });

  it("with the classifier tied, but stored", async () => {
    const model = seededModel(SHAPES.gqa, "hf", "F32", { untied: false });
    const [table] = model.tensors;
    model.tensors.push({ ...table, name: "lm_head.weight", values: table.values.map((x) => -x) });
    await expectSameModel(await open(folderOf(model)), model.checkpoint);
  });

  it("in shards with an index", async () => {
    const model = seededModel(SHAPES.gqa, "hf", "F16");
    const tensors = huggingFaceTensors(model);
    const half = tensors.length >> 1;
    const names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    const map = Object.fromEntries(tensors.map(({ name }, i) => [name, names[i < half ? 0 : 1]]));
    const weights = await open({
      "config.json": huggingFaceConfig(model),
      "model.safetensors.index.json": JSON.stringify({ metadata: {}, weight_map: map }),
      [names[0]]: safetensorsBytes(tensors.slice(0, half)),
      [names[1]]: safetensorsBytes(tensors.slice(half), { format: "pt" }),
    });
    await expectSameModel(weights, model.checkpoint);
  });

  it("as pytorch_model.bin", async () => {
    const model = seededModel(SHAPES.gqa, "hf", "BF16");
    const weights = await open({
      "config.json": huggingFaceConfig(model),
      "pytorch_model.bin": torchBytes(huggingFaceTensors(model)),
    });
    await expectSameModel(weights, model.checkpoint);
  });

  it("with rotary tables, which are ignored and computed", async () => {
    const model = seededModel(SHAPES.tiny, "hf", "F32");
    const table = { type: "F32", shape: [2], values: Float32Array.of(1, 0.01) } as const;
    model.tensors.push({ ...table, name: "model.layers.0.self_attn.rotary_emb.inv_freq" });
    await expectSameModel(await open(folderOf(model)), model.checkpoint);
  });
});

describe("a config.json", () => {
  const model = seededModel(SHAPES.tiny, "hf", "F32");

  it("epsilon and theta are carried", async () => {
    const { config } = await open(folderOf(model, { rms_norm_eps: 1e-6, rope_theta: 500 }));
    expect(config).toMatchObject({ normEps: Math.fround(1e-6), ropeTheta: 500 });
  });

  it("theta is also found in rope_parameters", async () => {
    const changes = { rope_theta: undefined, rope_parameters: { rope_type: "default", rope_theta: 1e6 } };
    expect((await open(folderOf(model, changes))).config.ropeTheta).toBe(1e6);
  });

  it("absent keys have Hugging Face's defaults", async () => {
    const changes = {
      rms_norm_eps: undefined,
      rope_theta: undefined,
      max_position_embeddings: undefined,
      num_key_value_heads: undefined,
    };
    const { config } = await open(folderOf(model, changes));
    expect(config).toMatchObject({ normEps: Math.fround(1e-6), ropeTheta: 10000, seqLen: 2048, nKvHeads: 4 });
  });

  it.each([
    ["another architecture", { model_type: "mistral", architectures: ["MistralForCausalLM"] }, /mistral/],
    ["another head", { architectures: ["LlamaForSequenceClassification"] }, /LlamaForSequenceClassification/],
    ["scaled RoPE", { rope_scaling: { type: "linear", factor: 2 } }, /rope_scaling.*linear/],
    ["scaled RoPE of newer files", { rope_parameters: { rope_type: "llama3" } }, /rope_parameters.*llama3/],
    ["biases", { attention_bias: true }, /attention_bias/],
    ["biases of the feed-forward network", { mlp_bias: true }, /mlp_bias/],
    ["a head size of its own", { head_dim: 8 }, /head_dim is 8/],
    ["quantization", { quantization_config: { quant_method: "gptq" } }, /quantization_config/],
    ["another activation", { hidden_act: "gelu" }, /hidden_act is "gelu"/],
    ["partial RoPE", { partial_rotary_factor: 0.5 }, /partial_rotary_factor/],
    ["a number as text", { hidden_size: "16" }, /hidden_size is "16"/],
    ["a fraction", { num_hidden_layers: 1.5 }, /num_hidden_layers is 1.5/],
    ["no size", { hidden_size: undefined }, /hidden_size is missing/],
    ["heads that do not divide", { num_attention_heads: 3, num_key_value_heads: 3 }, /not a multiple of the 3 heads/],
    ["odd heads", { num_attention_heads: 16, num_key_value_heads: 16 }, /head size is 1/],
    ["an epsilon out of range", { rms_norm_eps: 2 }, /epsilon/],
    ["a theta out of range", { rope_theta: 0 }, /theta/],
    ["more layers than there are", { num_hidden_layers: 3 }, /has no model.layers.2.input_layernorm/],
    ["fewer layers than there are", { num_hidden_layers: 1 }, /model.layers.1/],
    ["another vocabulary", { vocab_size: 299 }, /embed_tokens.*\[300, 16\].*\[299, 16\]/],
    ["an absurd number of layers", { num_hidden_layers: 2 ** 31 - 1 }, /has no model.layers/],
  ])("%s is refused by name", async (_, changes, message) => {
    expect((await rejected("E_FORMAT", open(folderOf(model, changes)))).message).toMatch(message);
  });

  it.each([
    ["no JSON", "{", /not JSON/],
    ["a list", "[]", /no JSON object/],
    ["no UTF-8", Uint8Array.of(0x7b, 0xff, 0x7d), /UTF-8/],
    ["the key __proto__", '{"__proto__": {"hidden_size": 16}}', /__proto__/],
    ["the key __proto__, written otherwise", '{"\\u005f_proto__": 1}', /__proto__/],
    ["a key twice", '{"a": {"x": 1, "y": "}", "x": 2}}', /"x" twice/],
    ["deep nesting", `{"a":${"[".repeat(200)}${"]".repeat(200)}}`, /nested/],
  ])("%s is refused", async (_, json, message) => {
    const contents = { ...folderOf(model), "config.json": json };
    expect((await rejected("E_FORMAT", open(contents))).message).toMatch(message);
  });
});

describe("an incomplete folder", () => {
  const model = seededModel(SHAPES.tiny, "hf", "F16");
  const tensors = huggingFaceTensors(model);

  it("without weights is refused", async () => {
    const message = (await rejected("E_FORMAT", open({ "config.json": huggingFaceConfig(model) }))).message;
    expect(message).toMatch(/no model.safetensors or pytorch_model.bin/);
  });

  it.each([
    ["a missing tensor", tensors.slice(1), /has no model.embed_tokens.weight/],
    ["an untied classifier that is missing", tensors.slice(0, -1), /has no lm_head.weight/],
    ["a tensor too many", [...tensors, { ...tensors[1], name: "model.layers.0.self_attn.q_proj.bias" }], /q_proj.bias/],
    [
      "a matrix where a vector belongs",
      tensors.map((t) => (t.name === "model.norm.weight" ? { ...t, shape: [1, 16] } : t)),
      /model.norm.weight.*1 dimensions/,
    ],
    [
      "a turned matrix",
      tensors.map((t) => (t.name.endsWith("0.mlp.up_proj.weight") ? { ...t, shape: [16, 40] } : t)),
      /up_proj.*\[16, 40\].*\[40, 16\]/,
    ],
  ])("%s is refused by name", async (_, some, message) => {
    const contents = { "config.json": huggingFaceConfig(model), "model.safetensors": safetensorsBytes(some) };
    expect((await rejected("E_FORMAT", open(contents))).message).toMatch(message);
  });

  const whole = Object.fromEntries(tensors.map(({ name }) => [name, "a.safetensors"]));
  it.each([
    ["a path upwards", { x: "../a.safetensors" }, /names an invalid file/],
    ["an absolute path", { x: "/etc/passwd" }, /names an invalid file/],
    ["a URL", { x: "https:evil" }, /names an invalid file/],
    ["a number", { x: 7 }, /names an invalid file/],
    ["a file that is not there", { x: "b.safetensors" }, /"b.safetensors", which is not there/],
    ["a tensor that is not in its file", { x: "a.safetensors" }, /"x" is not in "a.safetensors"/],
    ["a tensor of which the index does not know", { "lm_head.weight": undefined }, /"lm_head.weight" is also in/],
  ])("an index with %s is refused", async (_, changes, message) => {
    const contents = {
      "config.json": huggingFaceConfig(model),
      "model.safetensors.index.json": JSON.stringify({ weight_map: { ...whole, ...changes } }),
      "a.safetensors": safetensorsBytes(tensors),
    };
    expect((await rejected("E_FORMAT", open(contents))).message).toMatch(message);
  });
});
