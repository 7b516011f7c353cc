/*
 * Choosing a backend.
 */
import { Llama2Error } from "../errors.js";
import type { Config, WeightSource } from "../llama2/transformer.js";
import { BACKENDS, type Backend, type BackendName, type LoadedModel } from "./backend.js";
import { openCpu } from "./cpu/cpu.js";
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
  const { backend, notes } = choose(name);
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
  if (threads > model.threads) notes.push(`the ${backend.name} backend runs on one thread`);
  return { backend: backend.name, model, config, notes };
}

/** How to open each backend; each says why if it cannot run here. */
const OPEN: Partial<Record<BackendName, () => Backend>> = {
  cpu: openCpu,
  // wasm: between these two
  ts: () => ts,
};

/** The backend of that name, or the best that opens, with a note for each better one that did not. */
function choose(name: BackendName | "auto"): { backend: Backend; notes: string[] } {
  if (name !== "auto") return { backend: open(name), notes: [] };
  const notes: string[] = [];
  for (const candidate of BACKENDS) {
    if (!OPEN[candidate]) continue;
    try {
      return { backend: open(candidate), notes };
    } catch (error) {
      if (!(error instanceof Llama2Error)) throw error;
      notes.push(error.message);
    }
  }
  throw new Error("no backend opens, and ts always does");
}

/** @throws Llama2Error E_DEVICE_UNAVAILABLE */
function open(name: BackendName): Backend {
  const opener = OPEN[name];
  if (opener) return opener();
  const known = Object.keys(OPEN).join(", ");
  throw new Llama2Error(
    "E_DEVICE_UNAVAILABLE",
    `this release has no ${name} backend. It has ${known}: name one of those, or leave --backend away`,
  );
}
