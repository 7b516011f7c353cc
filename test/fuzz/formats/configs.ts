/*
 * The configurations beside weights, and the index of several files of them. The weights themselves are good.
 */
import { huggingFaceConfig } from "../../helpers/formats/model.ts";
import { zipBytes } from "../../helpers/formats/zip.ts";
import { damaged } from "../bytes.ts";
import type { Target } from "../fuzz.ts";
import { changedTree, type Json, JsonFields, jsonBytes, treeOf } from "../json.ts";
import {
  goodSafetensors,
  huggingFace,
  metaEntries,
  metaParams,
  readHuggingFace,
  readTorch,
  safetensorsFile,
} from "./containers.ts";

/** What a file may also say, most of which is refused by name. */
function withOthers(tree: Json, others: object): Json {
  return new JsonFields([...(tree as JsonFields).fields, ...(treeOf(others) as JsonFields).fields]);
}

const config = treeOf(JSON.parse(huggingFaceConfig(huggingFace)));
const configs = [
  config,
  withOthers(config, { head_dim: 2, attention_bias: false, rope_scaling: null, torch_dtype: "float16" }),
  withOthers(config, { rope_parameters: { rope_type: "default", rope_theta: 500 }, partial_rotary_factor: 1 }),
];

export const configJson: Target = {
  name: "config-json",
  files: ["checkpoint/config", "checkpoint/json"],
  make: (dice) => ({
    "config.json": damaged(jsonBytes(changedTree(dice.pick(configs), dice)), dice, 0.1),
    "model.safetensors": goodSafetensors,
  }),
  read: readHuggingFace,
};

const weights = zipBytes(metaEntries);
const params = [
  treeOf(metaParams),
  treeOf({ ...metaParams, multiple_of: 2, ffn_dim_multiplier: 1.3, rope_theta: 10000, use_scaled_rope: false }),
];

export const paramsJson: Target = {
  name: "params-json",
  files: ["checkpoint/config", "checkpoint/json"],
  make: (dice) => ({
    "params.json": damaged(jsonBytes(changedTree(dice.pick(params), dice)), dice, 0.1),
    "consolidated.00.pth": weights,
  }),
  read: readTorch,
};

/** The tensors of the good file in two halves. */
const headerLength = Number(new DataView(goodSafetensors.buffer).getBigUint64(0, true));
const header = JSON.parse(new TextDecoder().decode(goodSafetensors.subarray(8, 8 + headerLength)));
const names = Object.keys(header).filter((name) => name !== "__metadata__");
const half = (from: number, to: number): Uint8Array => {
  const some = names.slice(from, to);
  const start = header[some[0]].data_offsets[0];
  const end = header[some[some.length - 1]].data_offsets[1];
  const entries = some.map((name) => {
    const [a, b] = header[name].data_offsets;
    return [name, { ...header[name], data_offsets: [a - start, b - start] }];
  });
  const json = jsonBytes(treeOf(Object.fromEntries(entries)));
  const file = safetensorsFile(json);
  const numbers = goodSafetensors.subarray(8 + headerLength + start, 8 + headerLength + end);
  const bytes = file.slice(0, 8 + json.length + numbers.length);
  bytes.set(numbers, 8 + json.length);
  return bytes;
};
const middle = names.length >> 1;
const SHARDS = {
  "model-00001-of-00002.safetensors": half(0, middle),
  "model-00002-of-00002.safetensors": half(middle, names.length),
};
const [first, second] = Object.keys(SHARDS);
const index = treeOf({
  metadata: { total_size: 1000 },
  weight_map: Object.fromEntries(names.map((name, i) => [name, i < middle ? first : second])),
});

export const indexJson: Target = {
  name: "index-json",
  files: ["checkpoint/foreign", "checkpoint/json"],
  make: (dice) => ({
    "config.json": Buffer.from(huggingFaceConfig(huggingFace)),
    ...SHARDS,
    "model.safetensors.index.json": damaged(jsonBytes(changedTree(index, dice)), dice, 0.1),
  }),
  read: readHuggingFace,
};
