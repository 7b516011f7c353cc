/*
 * Models of other programs: Meta's and Hugging Face's folders, and files that are whole models.
 */
import type { PreparingTokenizer } from "../encode.ts";
import { Llama2Error } from "../errors.ts";
import { type ByteSource, type Files, readBytes } from "../files/bytes.ts";
import type { WeightSource } from "../llama2/weights.ts";
import { shapeFromGguf, shapeFromHuggingFace, shapeFromMeta, shapeFromModelArgs } from "./config.ts";
import { openGguf } from "./gguf.ts";
import { isJsonObject, type JsonObject, parseJsonObject, quoted } from "./json.ts";
import { GGUF, HUGGING_FACE, META } from "./names.ts";
import { openSafetensors } from "./safetensors.ts";
import type { StoredTensor } from "./stored.ts";
import { storedWeights, type Tensors } from "./storedWeights.ts";
import { ggufTokenizer } from "./tokenizer/ggufTokenizer.ts";
import { openTorch } from "./torch/torch.ts";

/** A model of another program. */
export interface ForeignModel {
  format: "meta" | "hf" | "llama2c-pt" | "gguf";
  /** The architecture that its file names. */
  architecture: string;
  tensors: readonly StoredTensor[];
  /** @throws Llama2Error E_FORMAT for what is not supported, E_LIMIT */
  weights: () => WeightSource;
  /** The tokenizer inside the file, if there is one. */
  tokenizer?: () => PreparingTokenizer | undefined;
}

const MAX_JSON = 2 ** 24;
/** Llama 3's vocabulary has 128,256 tokens, Llama 2's 32,000. */
const LLAMA_3_VOCABULARY = 128_000;

/** The names of the weights in Meta's folders. */
const SHARD = /^consolidated\.(\d\d)\.pth$/;

/** Opens files, and remembers them so that they are closed if something fails. */
export type Opening = (name: string) => Promise<ByteSource>;

/**
 * Meta's folder: params.json and consolidated.00.pth, 01 and so on, each with a part of every matrix.
 * @throws Llama2Error E_FORMAT, E_LIMIT
 */
export async function openMeta(files: Files, names: readonly string[], open: Opening): Promise<ForeignModel> {
  const params = await readJson(open, "params.json");
  const shardNames = names.filter((name) => SHARD.test(name)).sort();
  if (shardNames.length === 0) throw new Llama2Error("E_FORMAT", `${files.name} has no consolidated.00.pth`);
  shardNames.forEach((name, i) => {
    const expected = `consolidated.${String(i).padStart(2, "0")}.pth`;
    if (name !== expected) throw new Llama2Error("E_FORMAT", `${files.name} has ${name} and no ${expected}`);
  });
  const shards: Tensors[] = [];
  for (const name of shardNames) shards.push((await openTorch(await open(name))).tensors);
  const weights = () => {
    const shape = shapeFromMeta(params, "params.json");
    if ((shape.vocabSize ?? 0) < LLAMA_3_VOCABULARY) return storedWeights(shape, shards, META, files.name);
    const found = `Llama 3, by its vocabulary of ${shape.vocabSize}`;
    throw new Llama2Error("E_FORMAT", `${files.name} is ${found}. Llama 2 is supported`);
  };
  const tensors = shards.flatMap((shard) => [...shard.values()]);
  return { format: "meta", architecture: "llama", tensors, weights };
}

/**
 * Hugging Face's folder: config.json and the weights, in one file or in several with an index.
 * @param only the file of weights that the user named. If an index lists it, all of its shards are read
 * @throws Llama2Error E_FORMAT, E_LIMIT
 */
export async function openHuggingFace(
  files: Files,
  names: readonly string[],
  open: Opening,
  only?: string,
): Promise<ForeignModel> {
  const config = await readJson(open, "config.json");
  const tensors = await huggingFaceTensors(files, names, open, only);
  return {
    format: "hf",
    architecture: typeof config.model_type === "string" ? config.model_type : "llama",
    tensors: [...tensors.values()],
    weights: () => storedWeights(shapeFromHuggingFace(config, "config.json"), [tensors], HUGGING_FACE, files.name),
  };
}

/**
 * A training checkpoint of llama2.c, which has the shape of the model beside its weights.
 * @throws Llama2Error E_FORMAT, E_LIMIT
 */
export async function openTraining(file: ByteSource): Promise<ForeignModel> {
  const { tensors, modelArgs } = await openTorch(file);
  if (!modelArgs) {
    throw new Llama2Error(
      "E_FORMAT",
      `${file.name} has weights and does not say what shape the model has. Name the folder with its params.json or config.json`,
    );
  }
  const bare = new Map([...tensors].map(([name, tensor]) => [name.replace(/^(_orig_mod|module)\./, ""), tensor]));
  const weights = () => storedWeights(shapeFromModelArgs(modelArgs, file.name), [bare], META, file.name);
  return { format: "llama2c-pt", architecture: "llama", tensors: [...tensors.values()], weights };
}

/**
 * A GGUF file of llama.cpp. Its Q8_0 matrices stay int8, in groups of 32.
 * @throws Llama2Error E_FORMAT, E_LIMIT
 */
export async function openGgufModel(file: ByteSource): Promise<ForeignModel> {
  const { values, tensors } = await openGguf(file);
  const architecture = values.get("general.architecture");
  return {
    format: "gguf",
    architecture: typeof architecture === "string" ? architecture : "unknown",
    tensors: [...tensors.values()],
    weights: () => storedWeights(shapeFromGguf(values, file.name), [tensors], GGUF, file.name),
    tokenizer: () => ggufTokenizer(values, file.name),
  };
}

/** The kinds of weights in the order in which they are looked for. */
const KINDS = [
  { index: "model.safetensors.index.json", single: "model.safetensors", read: openSafetensors },
  { index: "pytorch_model.bin.index.json", single: "pytorch_model.bin", read: torchTensors },
];

async function torchTensors(file: ByteSource): Promise<Map<string, StoredTensor>> {
  return (await openTorch(file)).tensors;
}

async function huggingFaceTensors(
  files: Files,
  names: readonly string[],
  open: Opening,
  only: string | undefined,
): Promise<Tensors> {
  for (const { index, single, read } of KINDS) {
    if (only === undefined && names.includes(single)) return read(await open(single));
    if (!names.includes(index)) continue;
    const json = await readJson(open, index);
    const isPart = isJsonObject(json.weight_map) && Object.values(json.weight_map).some((shard) => shard === only);
    if (only === undefined || isPart) return readShards(json, index, names, open, read);
  }
  const others = only === undefined ? names.filter((name) => name.endsWith(".safetensors")) : [only];
  if (others.length !== 1) {
    throw new Llama2Error("E_FORMAT", `${files.name} has a config.json, and no model.safetensors or pytorch_model.bin`);
  }
  const [name] = others;
  return name.endsWith(".safetensors") ? openSafetensors(await open(name)) : torchTensors(await open(name));
}

/**
 * The tensors that an index lists, each from the file that the index names.
 * @throws Llama2Error E_FORMAT if the index and the files differ
 */
async function readShards(
  json: JsonObject,
  index: string,
  names: readonly string[],
  open: Opening,
  read: (file: ByteSource) => Promise<ReadonlyMap<string, StoredTensor>>,
): Promise<Tensors> {
  const refuse = (why: string) => new Llama2Error("E_FORMAT", `${index}: ${why}`);
  if (!isJsonObject(json.weight_map)) throw refuse("it has no weight_map");
  const places = Object.entries(json.weight_map);
  const shards = new Map<string, ReadonlyMap<string, StoredTensor>>();
  for (const shard of new Set(places.map(([, shard]) => shard))) {
    if (typeof shard !== "string" || !/^[\w.-]+$/.test(shard)) throw refuse("it names an invalid file");
    if (!names.includes(shard)) throw refuse(`it names ${quoted(shard)}, which is not there`);
    shards.set(shard, await read(await open(shard)));
  }
  const tensors = new Map<string, StoredTensor>();
  for (const [name, shard] of places) {
    const tensor = shards.get(shard as string)?.get(name);
    if (!tensor) throw refuse(`${quoted(name)} is not in ${quoted(shard as string)}`);
    tensors.set(name, tensor);
  }
  for (const [shard, held] of shards) {
    for (const name of held.keys()) {
      if (tensors.get(name) !== held.get(name)) throw refuse(`${quoted(name)} is also in ${quoted(shard)}`);
    }
  }
  return tensors;
}

async function readJson(open: Opening, name: string): Promise<JsonObject> {
  const file = await open(name);
  if (file.size > MAX_JSON)
    throw new Llama2Error("E_FORMAT", `${name} has ${file.size} bytes, expected at most ${MAX_JSON}`);
  return parseJsonObject(await readBytes(file, 0, file.size), name);
}
