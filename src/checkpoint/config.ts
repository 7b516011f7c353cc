/*
 * Reads the shape of a model from the files of other programs: Meta's params.json, Hugging Face's config.json, llama2.c's
 * training checkpoints, GGUF's keys. Features that run.c does not have are refused by name.
 */
import { Llama2Error } from "../errors.ts";
import { f32 } from "../llama2/math.ts";
import { type Config, DEFAULTS } from "../llama2/transformer.ts";
import type { GgufValue } from "./gguf.ts";
import { isJsonObject, type JsonObject, printable, quoted } from "./json.ts";

/** The shape of a model as its file has it. `vocabSize` and `hiddenDim` may have to be taken from the tensors. */
export interface Shape extends Omit<Config, "vocabSize" | "hiddenDim"> {
  vocabSize?: number;
  hiddenDim?: number;
  /** Whether the classifier is the embedding table. Absent: yes, if the file has no classifier. */
  tied?: boolean;
}

/** A whole number that an int32 of a llama2.c header holds. */
const MAX_INT = 2 ** 31 - 1;

/** Reads the fields of an object of unknown types, each with the type that it must have. */
class Fields {
  private readonly fields: ReadonlyMap<string, unknown>;
  private readonly name: string;

  constructor(fields: ReadonlyMap<string, unknown>, name: string) {
    this.fields = fields;
    this.name = name;
  }

  get(key: string): unknown {
    return this.fields.get(key) ?? undefined; // null (Python's None) counts as absent
  }

  /** @throws Llama2Error E_FORMAT if it is absent and there is no default */
  whole(key: string, byDefault?: number): number {
    const value = this.optionalWhole(key) ?? byDefault;
    if (value === undefined) throw this.refuse(`${key} is missing`);
    return value;
  }

  optionalWhole(key: string): number | undefined {
    const value = asNumber(this.get(key));
    if (
      value === undefined ||
      (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= MAX_INT)
    ) {
      return value;
    }
    throw this.refuse(`${key} is ${shown(value)}, expected a whole number from 1 on`);
  }

  number(key: string, byDefault: number): number {
    const value = asNumber(this.get(key)) ?? byDefault;
    if (typeof value === "number" && Number.isFinite(value)) return f32(value);
    throw this.refuse(`${key} is ${shown(value)}, expected a number`);
  }

  flag(key: string): boolean {
    const value = this.get(key) ?? false;
    if (typeof value === "boolean") return value;
    throw this.refuse(`${key} is ${shown(value)}, expected true or false`);
  }

  refuse(why: string): Llama2Error {
    return new Llama2Error("E_FORMAT", `${this.name}: ${why}`);
  }
}

/** GGUF has 64-bit numbers, which are bigint. */
const asNumber = (value: unknown): unknown => (typeof value === "bigint" ? Number(value) : value);

function shown(value: unknown): string {
  if (typeof value === "string") return quoted(value);
  return typeof value === "object" ? "not a number" : printable(String(value));
}

/**
 * Meta's params.json. It does not have the context: 4096, as for all Llama 2 models.
 * @throws Llama2Error E_FORMAT
 */
export function shapeFromMeta(params: JsonObject, name: string): Shape {
  const fields = new Fields(new Map(Object.entries(params)), name);
  if (fields.flag("use_scaled_rope"))
    throw fields.refuse("use_scaled_rope: a scaled RoPE (Llama 3.1) is not supported");
  for (const key of ["moe", "quantization_args", "lora_args", "vision_chunk_size"]) {
    if (fields.get(key) !== undefined) throw fields.refuse(`${key} belongs to a model that is not Llama 2's`);
  }
  return {
    ...modelArgs(fields),
    vocabSize: fields.get("vocab_size") === -1 ? undefined : fields.optionalWhole("vocab_size"),
    seqLen: fields.whole("max_seq_len", 4096),
  };
}

/**
 * The model_args of llama2.c's training. Everything else is llama2.c's default.
 * @throws Llama2Error E_FORMAT
 */
export function shapeFromModelArgs(args: ReadonlyMap<string, unknown>, name: string): Shape {
  const fields = new Fields(args, `model_args of ${name}`);
  return {
    ...modelArgs(fields),
    vocabSize: fields.optionalWhole("vocab_size"),
    hiddenDim: fields.optionalWhole("hidden_dim"),
    seqLen: fields.whole("max_seq_len"),
  };
}

/** The fields that have the same names in Meta's and llama2.c's files. */
function modelArgs(fields: Fields) {
  const nHeads = fields.whole("n_heads");
  return {
    dim: fields.whole("dim"),
    nLayers: fields.whole("n_layers"),
    nHeads,
    nKvHeads: fields.whole("n_kv_heads", nHeads),
    normEps: fields.number("norm_eps", DEFAULTS.normEps),
    ropeTheta: fields.number("rope_theta", DEFAULTS.ropeTheta),
  };
}

/**
 * Hugging Face's config.json of a LlamaForCausalLM.
 * @throws Llama2Error E_FORMAT for other architectures and unsupported features
 */
export function shapeFromHuggingFace(json: JsonObject, name: string): Shape {
  const fields = new Fields(new Map(Object.entries(json)), name);
  checkArchitecture(fields);
  for (const key of ["attention_bias", "mlp_bias"]) {
    if (fields.flag(key)) throw fields.refuse(`${key}: biases are not supported`);
  }
  if (fields.get("quantization_config") !== undefined) {
    throw fields.refuse("quantization_config: quantized Hugging Face models are not supported. Take the original");
  }
  const activation = fields.get("hidden_act") ?? "silu";
  if (activation !== "silu") throw fields.refuse(`hidden_act is ${shown(activation)}, expected "silu"`);
  const dim = fields.whole("hidden_size");
  const nHeads = fields.whole("num_attention_heads");
  const headDim = fields.whole("head_dim", dim / nHeads || 1);
  if (headDim !== dim / nHeads) {
    throw fields.refuse(
      `head_dim is ${headDim}, and only hidden_size / num_attention_heads, ${dim / nHeads}, is supported`,
    );
  }
  return {
    dim,
    hiddenDim: fields.whole("intermediate_size"),
    nLayers: fields.whole("num_hidden_layers"),
    nHeads,
    nKvHeads: fields.whole("num_key_value_heads", nHeads),
    vocabSize: fields.whole("vocab_size"),
    seqLen: fields.whole("max_position_embeddings", 2048),
    normEps: fields.number("rms_norm_eps", 1e-6),
    ropeTheta: ropeTheta(fields),
    tied: fields.flag("tie_word_embeddings"),
  };
}

function checkArchitecture(fields: Fields): void {
  const type = fields.get("model_type") ?? "llama";
  const architectures = fields.get("architectures") ?? ["LlamaForCausalLM"];
  const architecture = Array.isArray(architectures) ? architectures[0] : architectures;
  if (type === "llama" && (architecture === "LlamaForCausalLM" || architecture === "LLaMAForCausalLM")) return;
  const found = type === "llama" ? architecture : type;
  throw fields.refuse(`the architecture is ${shown(found)}, and "llama" (LlamaForCausalLM) is supported`);
}

/** Newer files keep RoPE's theta in rope_parameters, beside the kind of scaling. */
function ropeTheta(fields: Fields): number {
  let theta = fields.number("rope_theta", DEFAULTS.ropeTheta);
  for (const key of ["rope_scaling", "rope_parameters"]) {
    const value = fields.get(key);
    if (value === undefined) continue;
    if (!isJsonObject(value)) throw fields.refuse(`${key} is not an object`);
    const rope = new Fields(new Map(Object.entries(value)), key);
    const type = rope.get("rope_type") ?? rope.get("type") ?? "default";
    if (type !== "default") throw fields.refuse(`${key} says ${shown(type)}: scaled RoPE is not supported`);
    theta = rope.number("rope_theta", theta);
  }
  const partial = fields.number("partial_rotary_factor", 1);
  if (partial !== 1) throw fields.refuse(`partial_rotary_factor is ${partial}, expected 1`);
  return theta;
}

/**
 * GGUF's keys of the llama architecture.
 * @throws Llama2Error E_FORMAT for other architectures and unsupported features
 */
export function shapeFromGguf(values: ReadonlyMap<string, GgufValue>, name: string): Shape {
  const fields = new Fields(values, name);
  const architecture = fields.get("general.architecture");
  if (architecture !== "llama")
    throw fields.refuse(`the architecture is ${shown(architecture)}, and "llama" is supported`);
  if ((fields.optionalWhole("split.count") ?? 1) > 1) throw fields.refuse("it is one part of several. Join them first");
  for (const key of ["llama.expert_count", "llama.expert_used_count"]) {
    if (asNumber(fields.get(key) ?? 0) !== 0) throw fields.refuse(`${key}: mixtures of experts are not supported`);
  }
  const scaling = fields.get("llama.rope.scaling.type") ?? "none";
  if (scaling !== "none")
    throw fields.refuse(`llama.rope.scaling.type is ${shown(scaling)}: scaled RoPE is not supported`);
  if (fields.number("llama.rope.scale_linear", 1) !== 1)
    throw fields.refuse("llama.rope.scale_linear: scaled RoPE is not supported");
  const dim = fields.whole("llama.embedding_length");
  const nHeads = fields.whole("llama.attention.head_count");
  for (const key of ["llama.rope.dimension_count", "llama.attention.key_length", "llama.attention.value_length"]) {
    const size = fields.optionalWhole(key) ?? dim / nHeads;
    if (size !== dim / nHeads) throw fields.refuse(`${key} is ${size}, and only ${dim / nHeads} is supported`);
  }
  return {
    dim,
    hiddenDim: fields.whole("llama.feed_forward_length"),
    nLayers: fields.whole("llama.block_count"),
    nHeads,
    nKvHeads: fields.whole("llama.attention.head_count_kv", nHeads),
    vocabSize: fields.optionalWhole("llama.vocab_size"),
    seqLen: fields.whole("llama.context_length"),
    normEps: fields.number("llama.attention.layer_norm_rms_epsilon", DEFAULTS.normEps),
    ropeTheta: fields.number("llama.rope.freq_base", DEFAULTS.ropeTheta),
  };
}

/**
 * Check that a config fits RoPE and the heads.
 * @throws Llama2Error E_FORMAT
 */
export function checkConfig(p: Config, name: string): void {
  const refuse = (why: string) => new Llama2Error("E_FORMAT", `${name}: ${why}`);
  if (p.dim % p.nHeads !== 0) throw refuse(`dim ${p.dim} is not a multiple of the ${p.nHeads} heads`);
  if (p.nHeads % p.nKvHeads !== 0)
    throw refuse(`${p.nHeads} heads are not a multiple of the ${p.nKvHeads} key/value heads`);
  if ((p.dim / p.nHeads) % 2 !== 0)
    throw refuse(`the head size is ${p.dim / p.nHeads}, expected an even number: RoPE rotates pairs`);
  if (!(p.normEps > 0 && p.normEps < 1))
    throw refuse(`the norm epsilon is ${p.normEps}, expected a number between 0 and 1`);
  if (!(p.ropeTheta >= 1 && p.ropeTheta < Infinity))
    throw refuse(`the RoPE theta is ${p.ropeTheta}, expected a number from 1 on`);
}
