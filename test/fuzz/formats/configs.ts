/*
 * The configuration files beside weights, and the index of several weight files. The weights themselves are valid.
 */
import { huggingFaceConfig } from "../../helpers/formats/model.ts";
import { zipBytes } from "../../helpers/formats/zip.ts";
import { damaged } from "../bytes.ts";
import type { Target } from "../fuzz.ts";
import { changedTree, type Json, JsonFields, jsonBytes, treeOf } from "../json.ts";
import { configBytes, huggingFace, readHuggingFace, safetensorsOf, tensorNames } from "./safetensors.ts";
import { fewEntries, metaEntries, metaParams, readTorch } from "./torch.ts";

/** Other keys of a file; most are refused by name. */
function withOthers(tree: Json, others: object): Json {
  return new JsonFields([...(tree as JsonFields).fields, ...(treeOf(others) as JsonFields).fields]);
}

const config = treeOf(JSON.parse(huggingFaceConfig(huggingFace)));
const configs = [
  config,
  withOthers(config, { head_dim: 2, attention_bias: false, rope_scaling: null, torch_dtype: "float16" }),
  withOthers(config, { rope_parameters: { rope_type: "default", rope_theta: 500 }, partial_rotary_factor: 1 }),
];

const goodWeights = safetensorsOf();

export const configJson: Target = {
  name: "config-json",
  files: ["checkpoint/config", "checkpoint/json"],
  make: (dice) => ({
    "config.json": damaged(jsonBytes(changedTree(dice.pick(configs), dice)), dice, 0.1),
    "model.safetensors": goodWeights,
  }),
  read: readHuggingFace,
};

const weights = zipBytes(metaEntries);
const fewWeights = zipBytes(fewEntries);
const params = [
  treeOf(metaParams),
  treeOf({ ...metaParams, multiple_of: 2, ffn_dim_multiplier: 1.3, rope_theta: 10000, use_scaled_rope: false }),
];

export const paramsJson: Target = {
  name: "params-json",
  files: ["checkpoint/config", "checkpoint/json"],
  make: (dice) => ({
    "params.json": damaged(jsonBytes(changedTree(dice.pick(params), dice)), dice, 0.1),
    // most errors are found before the weights are read
    "consolidated.00.pth": dice.chance(0.7) ? fewWeights : weights,
  }),
  read: readTorch,
};

/** The tensors of the good file in two halves. */
const middle = tensorNames.length >> 1;
const [first, second] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
const SHARDS = { [first]: safetensorsOf(0, middle), [second]: safetensorsOf(middle) };
const index = treeOf({
  metadata: { total_size: 1000 },
  weight_map: Object.fromEntries(tensorNames.map((name, i) => [name, i < middle ? first : second])),
});

export const indexJson: Target = {
  name: "index-json",
  files: ["checkpoint/foreign", "checkpoint/json"],
  make: (dice) => ({
    "config.json": configBytes,
    ...SHARDS,
    "model.safetensors.index.json": damaged(jsonBytes(changedTree(index, dice)), dice, 0.1),
  }),
  read: readHuggingFace,
};
