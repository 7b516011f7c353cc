/*
 * Choosing a backend.
 */
import { Llama2Error } from "../errors.js";
import type { Config, WeightSource } from "../llama2/transformer.js";
import type { Backend, BackendName, LoadedModel } from "./backend.js";
import { checkLimits } from "./limits.js";
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
  const capped: WeightSource = {
    config,
    sharedClassifier: source.sharedClassifier,
    groupSize: source.groupSize,
    read: (tensor, layer, fill) => source.read(tensor, layer, fill),
    readQuantized: (tensor, layer, fill) => source.readQuantized(tensor, layer, fill),
  };
  checkLimits(capped);
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
