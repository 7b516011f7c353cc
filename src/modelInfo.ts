/*
 * A model's description, from its header.
 */
import type { Precision } from "./backend/cuda/options.ts";
import type { Config } from "./llama2/transformer.ts";
import { isVector, tensorsOf, type WeightSource } from "./llama2/weights.ts";

/** A model's name, shape and size. */
export interface ModelInfo {
  /** Its file's name without the ending. */
  name: string;
  /** What kind of file it is, such as "llama2c-v0". */
  format: string;
  /** Of the matrices in use. */
  precision: Precision;
  /** How many numbers it consists of. */
  parameters: number;
  dim: number;
  hiddenDim: number;
  layers: number;
  heads: number;
  kvHeads: number;
  vocabSize: number;
  /** The most positions a sequence can have, as it is loaded. */
  context: number;
}

/**
 * @param source of its weights
 * @param config as it is loaded: `seqLen` is the context
 * @param precision that was chosen; default: the file's
 */
export function modelInfo(
  source: WeightSource,
  config: Config,
  { name, format, precision }: { name: string; format: string; precision?: Precision },
): ModelInfo {
  const tensors = tensorsOf(source);
  const isInt8 = tensors.some((tensor) => !isVector(tensor.name) && source.formatOf(tensor.name) !== "float32");
  return {
    name,
    format,
    precision: precision ?? (isInt8 ? "int8" : "fp32"),
    parameters: tensors.reduce((sum, { layers, d, n }) => sum + layers * d * n, 0),
    dim: config.dim,
    hiddenDim: config.hiddenDim,
    layers: config.nLayers,
    heads: config.nHeads,
    kvHeads: config.nKvHeads,
    vocabSize: config.vocabSize,
    context: config.seqLen,
  };
}
