/*
 * How a model is stored on a GPU, and how much memory it takes, from its header alone: `fit` needs no addon and no GPU.
 *
 * It must match what native/cuda/transformer.cu and context.cu allocate; a test compares it with the addon's own count.
 */
import { defaultGroupSize } from "../../llama2/quantize.ts";
import { type Config, kvDimOf } from "../../llama2/transformer.ts";
import { type Holdings, tensorsOf } from "../../llama2/weights.ts";
import type { Memory } from "../backend.ts";
import { commonGroupSize } from "../native.ts";
import type { NativeOptions } from "./addon.ts";
import type { CudaOptions, Precision } from "./options.ts";

/** From this many weights on, keys and values are fp16. */
const LARGE = 1e9;

/**
 * How a model is stored on a device.
 * @throws Llama2Error E_DEVICE_UNAVAILABLE if its matrices have different formats
 */
export function nativeOptionsOf(
  source: Holdings,
  { precision, kvPrecision, device = 0 }: CudaOptions = {},
): NativeOptions {
  const { config, sharedClassifier } = source;
  const groupSize = commonGroupSize(source, "cuda");
  const own: Precision = groupSize > 0 ? "int8" : "fp32";
  const chosen = precision ?? own;
  return {
    precision: chosen,
    groupSize: chosen === "int8" && groupSize === 0 ? defaultGroupSize(config) : groupSize,
    kvPrecision: kvPrecision ?? (countWeights(source) < LARGE ? "fp32" : "fp16"),
    sharedClassifier,
    device,
  };
}

const countWeights = (source: Holdings): number =>
  tensorsOf(source).reduce((sum, { layers, d, n }) => sum + layers * d * n, 0);

/**
 * The memory a model takes on a device. The scratch is for up to 32 sequences.
 * @param count gives the bytes of the weights, and of a context with `slots` slots
 */
export function needsOf(count: (slots: number) => { weights: number; context: number }): Omit<Memory, "available"> {
  const { weights, context } = count(1);
  const perSequence = count(2).context - context;
  return { weights, perSequence, scratch: context - perSequence };
}

/** Bytes of the weights, and of a context with `slots` slots. */
export function countMemory(config: Config, options: NativeOptions, slots: number) {
  return { weights: weightBytes(config, options), context: contextBytes(config, options, slots) };
}

const roundUp = (n: number, to: number) => Math.ceil(n / to) * to;

/** The most values in each of the two staging buffers, which have 8 bytes per value. */
const STAGED = 2 ** 20;

function weightBytes(p: Config, { precision, groupSize, sharedClassifier }: NativeOptions): number {
  const each = { fp32: 4, fp16: 2, int8: 1 }[precision];
  const matrix = (d: number, n: number) => {
    return d * roundUp(n, 16) * each + (precision === "int8" ? 4 * Math.ceil((d * n) / groupSize) : 0);
  };
  const { dim, hiddenDim } = p;
  const attention = 2 * matrix(dim, dim) + 2 * matrix(kvDimOf(p), dim);
  const layer = attention + 2 * matrix(hiddenDim, dim) + matrix(dim, hiddenDim) + 8 * dim;
  const tables = matrix(p.vocabSize, dim) * (sharedClassifier ? 1 : 2);
  return layer * p.nLayers + tables + 4 * dim + 2 * (dim / p.nHeads) + 2 * 8 * STAGED;
}

/** Tokens of a pass, at least. */
const PASS = 32;
/** Warps of a block. */
const WARPS = 8;
/** Bytes in a buffer for each token read, and for each sequence decoded. */
const ENTRY = 12;
const DRAW = 24;
/** Positions that a block of attention reads. */
const SPLITS = 8;
const [LEAST_CHUNK, MOST_CHUNK] = [64, 8192];

function contextBytes(p: Config, { kvPrecision }: NativeOptions, slots: number): number {
  const { dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen } = p;
  const headSize = dim / nHeads;
  const cache = slots * nLayers * nKvHeads * seqLen * roundUp(headSize, 8) * (kvPrecision === "fp16" ? 2 : 4);
  const chunk = Math.min(MOST_CHUNK, Math.max(LEAST_CHUNK, roundUp(Math.ceil(seqLen / SPLITS), 32)));
  const parts = nHeads * Math.ceil(seqLen / chunk);
  const floats = 2 * dim + hiddenDim + headSize + parts * (2 + headSize) + vocabSize;
  const entry = ENTRY + 4 * floats + 8 * Math.ceil(vocabSize / WARPS);
  const keys = 2 ** Math.ceil(Math.log2(vocabSize));
  const slot = DRAW + 4 + 4 * vocabSize + 8 * keys;
  return 2 * cache + entry * Math.max(PASS, slots) + slot * slots;
}
