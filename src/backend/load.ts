/*
 * Choosing a backend, and refusing what no backend could hold.
 */
import { totalmem } from "node:os";
import { Llama2Error } from "../errors.js";
import { type Config, kvDimOf, type WeightSource } from "../llama2/transformer.js";
import type { Backend, BackendName, LoadedModel } from "./backend.js";
import { ts } from "./ts/ts.js";

/** A model on a backend, and what the choice deserves to be told. */
export interface Loaded {
  backend: BackendName;
  model: LoadedModel;
  config: Config; // seqLen is the context
  notes: string[];
}

/**
 * Load the weights on the backend that was asked for, or on the best one. A named backend never falls back.
 * @param context caps the positions a sequence can have; 0: as many as the model was made for
 * @param threads 0: the backend's own choice
 * @throws Llama2Error E_DEVICE_UNAVAILABLE, E_LIMIT, and whatever the source throws
 */
export function load(source: WeightSource, name: BackendName | "auto", context: number, threads: number): Loaded {
  const backend = choose(name);
  const { seqLen } = source.config;
  const config = { ...source.config, seqLen: context === 0 ? seqLen : Math.min(context, seqLen) };
  checkLimits(config);
  checkMemory(config, source.sharedClassifier);
  const capped: WeightSource = {
    config,
    sharedClassifier: source.sharedClassifier,
    groupSize: source.groupSize,
    read: (tensor, layer, fill) => source.read(tensor, layer, fill),
  };
  const model = backend.load(capped, { threads });
  const notes = threads > model.threads ? [`the ${backend.name} backend runs on one thread`] : [];
  return { backend: backend.name, model, config, notes };
}

function choose(name: BackendName | "auto"): Backend {
  if (name === "auto" || name === "ts") return ts;
  throw new Llama2Error(
    "E_DEVICE_UNAVAILABLE",
    `this release has no ${name} backend. It runs on ts: leave --backend away, or name that`,
  );
}

/** Float32 cannot count further: position 2^24 + 1 would get the RoPE angles of position 2^24. */
const MAX_POSITIONS = 2 ** 24;
/** Real models have up to about 130. Each is a dozen objects, however small its tensors are. */
const MAX_LAYERS = 2 ** 12;
/** The most numbers that an array of Node 20 holds. */
const MAX_NUMBERS = 2 ** 32;

/** @throws Llama2Error E_LIMIT if the model is of a size that cannot be handled on any machine */
function checkLimits(p: Config): void {
  if (p.seqLen > MAX_POSITIONS) {
    throw new Llama2Error(
      "E_LIMIT",
      `a context of ${p.seqLen} positions is more than the ${MAX_POSITIONS} that float32 can tell apart. Cap it: --context 4096`,
    );
  }
  if (p.nLayers > MAX_LAYERS) {
    throw new Llama2Error("E_LIMIT", `the model has ${p.nLayers} layers, and ${MAX_LAYERS} can be handled`);
  }
  const cache = p.nLayers * p.seqLen * kvDimOf(p);
  if (cache > MAX_NUMBERS) {
    throw new Llama2Error(
      "E_LIMIT",
      `a context of ${p.seqLen} positions needs ${cache} keys, and ${MAX_NUMBERS} can be handled. Cap it: --context ${shorter(p)}`,
    );
  }
  const matrix = p.dim * Math.max(p.vocabSize, p.hiddenDim, p.dim);
  if (matrix > MAX_NUMBERS) {
    throw new Llama2Error("E_LIMIT", `a matrix of the model has ${matrix} numbers, and ${MAX_NUMBERS} can be handled`);
  }
}

/** A context to try instead. */
const shorter = (p: Config): number => Math.min(2048, Math.ceil(p.seqLen / 4));

/** @throws Llama2Error E_LIMIT if the model is too large for this machine */
function checkMemory(p: Config, sharedClassifier: boolean): void {
  const kvDim = kvDimOf(p);
  const layer = 2 * p.dim * p.dim + 2 * p.dim * kvDim + 3 * p.dim * p.hiddenDim;
  const weights = 4 * (p.nLayers * layer + (sharedClassifier ? 1 : 2) * p.vocabSize * p.dim);
  const cache = 4 * p.seqLen * (2 * p.nLayers * kvDim + p.nHeads);
  const memory = Math.min(totalmem(), process.constrainedMemory() || Infinity);
  if (weights + cache > memory) {
    const gb = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
    throw new Llama2Error(
      "E_LIMIT",
      `the weights need ${gb(weights)} and a context of ${p.seqLen} positions ${gb(cache)}, but this machine has ${gb(memory)}.${
        weights < memory ? ` A shorter context needs less: --context ${shorter(p)}` : ""
      }`,
    );
  }
}
