/*
 * Converts any model that can be opened to a checkpoint of llama2.c, or to a Hugging Face folder.
 */
import { extname, join } from "node:path";
import { checkFunction, checkOneOf, checkOptions, checkSignal, checkWhole, show, usage } from "./check.ts";
import { checkGroupSize } from "./checkpoint/groupSize.ts";
import type { Header } from "./checkpoint/llama2c/header.ts";
import { type WriteOptions, writeCheckpoint } from "./checkpoint/llama2c/write.ts";
import { type Recognised, recognise } from "./checkpoint/open.ts";
import { writeHuggingFace } from "./checkpoint/toHuggingFace.ts";
import { formatTokenizer } from "./checkpoint/tokenizer/bin.ts";
import { type FoundTokenizer, findTokenizer, namedTokenizer } from "./checkpoint/tokenizer/find.ts";
import { Llama2Error } from "./errors.ts";
import { filesAt } from "./files/disk.ts";
import { InputFile } from "./files/inputFile.ts";
import { checkReplacesNone, writeWhole } from "./files/outputFile.ts";
import { pathOf } from "./files/path.ts";
import { f32 } from "./llama2/math.ts";
import { defaultGroupSize } from "./llama2/quantize.ts";
import { type Config, DEFAULTS } from "./llama2/transformer.ts";
import { groupSizeOf, isVector, tensorsOf, type WeightSource } from "./llama2/weights.ts";
import { type Proof, prove as proveIt } from "./prove/prove.ts";
import { TARGETS, type Target } from "./targets.ts";

export type { Proof };

export interface ConvertOptions extends WriteOptions {
  /**
   * v0, v1: float32 checkpoints of llama2.c. v2: int8. safetensors: a Hugging Face folder, of the source's own type.
   * @default "v1"
   */
  to?: Target;
  /** v2: how many weights share a scale. Default: 64, halved until it divides dim and hiddenDim. */
  groupSize?: number;
  /** The context, instead of the source's own. */
  context?: number;
  /** rmsnorm's epsilon and RoPE's theta, instead of the source's own. */
  normEps?: number;
  ropeTheta?: number;
  /** The tokenizer's file. Default: the one that is found for the source. */
  tokenizer?: string | URL;
  /**
   * Compute the logits of BOS and 7 tokens from the original tensors, and compare them with the written model's.
   * @default false
   */
  prove?: boolean;
  /** Called during the proof: how many weights have been read, and of how many. */
  onProof?: (done: number, total: number) => void;
}

/** What was written. */
export interface Converted {
  config: Config;
  /** The tokenizer's file beside it, or in the folder. */
  tokenizer?: string;
  /** Notes for the user. */
  notes: string[];
  /** With `prove`. */
  proof?: Proof;
}

/**
 * Read the model at `from`, a file or a folder, and write it to `into`, as a whole or not at all. Only a piece of a
 * tensor is in memory at a time.
 * @throws Llama2Error E_USAGE, E_FILE, E_FORMAT for what the target cannot express, E_NUMERIC for weights that are not
 *   finite, or if the proof fails; the signal's reason
 */
export async function convert(
  from: string | URL,
  into: string | URL,
  options: ConvertOptions = {},
): Promise<Converted> {
  const source = pathOf("the source", from);
  const out = pathOf("what is written", into);
  checkConvertOptions(options);
  const { to = "v1", groupSize, context, normEps, ropeTheta, tokenizer: chosen, prove, onProof, ...writing } = options;
  const named = chosen === undefined ? undefined : pathOf("the tokenizer", chosen);
  checkReplacesNone(out, [source]);
  const model = await recognise(filesAt(source));
  const proofOf = async (weights: WeightSource, config: Config) =>
    prove ? proveIt(model, weights, config, out, { onProgress: onProof, signal: writing.signal }) : undefined;
  try {
    const weights = model.weights();
    const config: Config = {
      ...weights.config,
      seqLen: context ?? weights.config.seqLen,
      normEps: normEps === undefined ? weights.config.normEps : f32(normEps),
      ropeTheta: ropeTheta === undefined ? weights.config.ropeTheta : f32(ropeTheta),
    };
    const { sharedClassifier } = weights;
    const notes: string[] = [];
    const tokenizer = await tokenizerFor(source, named, config.vocabSize, notes);
    checkReplacesNone(out, [...model.files.map(({ name }) => name), ...(tokenizer ? [tokenizer.path] : [])]);
    if (to === "safetensors") {
      await writeHuggingFace(out, weightsWith(weights, config), numberType(model), writing);
      const written = tokenizer && writeTokenizer(join(out, "tokenizer"), tokenizer, notes);
      return { config, tokenizer: written, notes, proof: await proofOf(weights, config) };
    }
    const version = Number(to[1]) as 0 | 1 | 2;
    if (version === 0) checkVersion0(config, out);
    const header: Header = { version, config, sharedClassifier, groupSize: 0 };
    if (version === 2) header.groupSize = groupSizeFor(weights, groupSize, source, out);
    await writeCheckpoint(out, header, weights, writing);
    const stem = `${out.replace(/\.bin$/, "")}.tokenizer`;
    const written = tokenizer && writeTokenizer(stem, tokenizer, notes);
    return { config, tokenizer: written, notes, proof: await proofOf(weights, config) };
  } finally {
    model.close();
  }
}

/** @throws Llama2Error E_USAGE */
function checkConvertOptions(options: ConvertOptions): void {
  const known: (keyof ConvertOptions)[] = ["to", "groupSize", "context", "normEps", "ropeTheta", "tokenizer"];
  checkOptions("convert", options, [...known, "prove", "onProof", "onProgress", "signal"]);
  const { to = "v1", context = 1, normEps = 1, ropeTheta = 1 } = options;
  checkOneOf("to", to, TARGETS);
  checkWhole("context", context, 1, 2 ** 31 - 1);
  for (const [name, value] of Object.entries({ normEps, ropeTheta })) {
    if (!(typeof value === "number" && value > 0 && value < Infinity))
      usage(`${name} is ${show(value)}, expected a number above 0`);
  }
  if (typeof (options.prove ?? false) !== "boolean") usage(`prove is ${show(options.prove)}, expected true or false`);
  checkFunction("onProgress", options.onProgress);
  checkFunction("onProof", options.onProof);
  checkSignal(options.signal);
}

const weightsWith = (weights: WeightSource, config: Config): WeightSource => ({
  config,
  sharedClassifier: weights.sharedClassifier,
  formatOf: (name) => weights.formatOf(name),
  pieces: (name, layer, multipleOf) => weights.pieces(name, layer, multipleOf),
});

/** The type of all numbers of the source, if safetensors has it; otherwise F32, which can represent all of them. */
function numberType({ tensors }: Recognised): "F32" | "F16" | "BF16" {
  const types = new Set(tensors.map((tensor) => ("type" in tensor ? tensor.type : "F32")));
  const [type] = types;
  return types.size === 1 && (type === "F16" || type === "BF16") ? type : "F32";
}

/** @throws Llama2Error E_FORMAT */
function checkVersion0({ normEps, ropeTheta }: Config, out: string): void {
  if (normEps === DEFAULTS.normEps && ropeTheta === DEFAULTS.ropeTheta) return;
  const found = `the norm epsilon ${Number(normEps.toPrecision(7))} and the RoPE theta ${Number(ropeTheta.toPrecision(7))}`;
  throw new Llama2Error("E_FORMAT", `${out} cannot be version 0, which has no place for ${found}. Version 1 has`);
}

/**
 * The group size of a version-2 checkpoint: the source's own where it is int8.
 * @throws Llama2Error E_USAGE, E_FORMAT where the source has matrices of several formats
 */
function groupSizeFor(weights: WeightSource, asked: number | undefined, source: string, out: string): number {
  const matrices = tensorsOf(weights).filter(({ name }) => !isVector(name));
  const sizes = new Map(matrices.map(({ name }) => [groupSizeOf(weights.formatOf(name)), name]));
  const [own] = sizes.keys();
  if (sizes.size > 1) {
    const list = [...sizes].map(([size, name]) => `${name} ${size === 0 ? "float32" : `int8 in groups of ${size}`}`);
    throw new Llama2Error("E_FORMAT", `${out} cannot be version 2: of ${source} ${list.join(", ")}. Version 1 can`);
  }
  if (own !== 0 && asked !== undefined && asked !== own) {
    throw new Llama2Error("E_USAGE", `${source} is int8 in groups of ${own} already`);
  }
  if (own === 0 && asked !== undefined) checkGroupSize(asked, weights, source);
  return own || (asked ?? defaultGroupSize(weights.config));
}

async function tokenizerFor(
  source: string,
  named: string | undefined,
  vocabSize: number,
  notes: string[],
): Promise<FoundTokenizer | undefined> {
  if (named !== undefined) return namedTokenizer(named, vocabSize);
  try {
    return await findTokenizer(source, vocabSize);
  } catch (error) {
    if (!(error instanceof Llama2Error)) throw error;
    notes.push(`no tokenizer was written: ${error.message}`);
    return undefined;
  }
}

/** Write a tokenizer under this name with the ending of its kind: in llama2.c's format if nothing is lost. */
function writeTokenizer(
  name: string,
  { path, kind, tokenizer, pieces }: FoundTokenizer,
  notes: string[],
): string | undefined {
  if (!tokenizer.prepare) {
    writeWhole(`${name}.bin`, formatTokenizer(tokenizer, pieces));
    return `${name}.bin`;
  }
  if (kind === "gguf") {
    notes.push("no tokenizer was written: what the one inside the GGUF file does to text, tokenizer.bin cannot say");
    return undefined;
  }
  const copy = name + extname(path);
  writeWhole(copy, bytesOf(path));
  return copy;
}

function bytesOf(path: string): Uint8Array {
  const file = new InputFile(path);
  try {
    const bytes = new Uint8Array(file.size);
    file.read(bytes, 0);
    return bytes;
  } finally {
    file.close();
  }
}
