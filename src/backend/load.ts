/*
 * Choosing a backend, and refusing what no backend could hold.
 */
import { totalmem } from "node:os";
import { Llama2Error } from "../errors.js";
import { type Config, kvDimOf, type WeightSource } from "../llama2/transformer.js";
import type { Backend, BackendName, LoadedModel } from "./backend.js";
import { ts } from "./ts/ts.js";
import { fits } from "./wasm/plan.js";
import { wasm } from "./wasm/wasm.js";

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
  const { seqLen } = source.config;
  const config = { ...source.config, seqLen: context === 0 ? seqLen : Math.min(context, seqLen) };
  checkMemory(config, source.sharedClassifier);
  const capped: WeightSource = {
    config,
    sharedClassifier: source.sharedClassifier,
    groupSize: source.groupSize,
    read: (tensor, layer, fill) => source.read(tensor, layer, fill),
  };
  const backend = choose(name, capped);
  const model = backend.load(capped, { threads });
  const notes = threads > model.threads ? [`the ${backend.name} backend runs on one thread`] : [];
  return { backend: backend.name, model, config, notes };
}

function choose(name: BackendName | "auto", source: WeightSource): Backend {
  if (name === "auto") return fits(source) ? wasm : ts;
  if (name === "wasm") return wasm;
  if (name === "ts") return ts;
  throw new Llama2Error(
    "E_DEVICE_UNAVAILABLE",
    `this release has no ${name} backend. It runs on wasm and ts: leave --backend away, or name one of them`,
  );
}

/** Float32 cannot count further: position 2^24 + 1 would get the RoPE angles of position 2^24. */
const MAX_POSITIONS = 2 ** 24;

/** @throws Llama2Error E_LIMIT if the context is too long, or the model too large for this machine */
function checkMemory(p: Config, sharedClassifier: boolean): void {
  if (p.seqLen > MAX_POSITIONS) {
    throw new Llama2Error(
      "E_LIMIT",
      `a context of ${p.seqLen} positions is more than the ${MAX_POSITIONS} that float32 can tell apart. Cap it: --context 4096`,
    );
  }
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
        weights < memory ? ` A shorter context needs less: --context ${Math.min(2048, Math.ceil(p.seqLen / 4))}` : ""
      }`,
    );
  }
}
