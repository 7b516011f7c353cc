/*
 * Choosing a backend.
 */
import { Llama2Error } from "../errors.js";
import type { Config } from "../llama2/transformer.js";
import type { WeightSource } from "../llama2/weights.js";
import { BACKENDS, type Backend, type BackendName, type LoadedModel } from "./backend.js";
import { openCpu } from "./cpu/cpu.js";
import { checkLimits } from "./limits.js";
import { ts } from "./ts/ts.js";
import { wasm } from "./wasm/wasm.js";

/** A model on a backend, and what the choice deserves to be told. */
export interface Loaded {
  backend: BackendName;
  model: LoadedModel;
  config: Config; // seqLen is the context
  notes: string[];
}

/** How to open each backend of this release. */
const OPEN: Partial<Record<BackendName, () => Backend>> = {
  cpu: openCpu,
  wasm: () => wasm,
  ts: () => ts,
};

/**
 * Load the weights on the backend that was asked for, or on the best one that works. A named backend never falls
 * back; where `auto` does, a note says why.
 * @param context caps the positions a sequence can have; 0: as many as the model was made for
 * @param threads 0: the backend's own choice
 * @throws Llama2Error E_DEVICE_UNAVAILABLE, E_LIMIT, and whatever the source throws
 */
export function load(source: WeightSource, name: BackendName | "auto", context: number, threads: number): Loaded {
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

  const candidates = name === "auto" ? BACKENDS.filter((candidate) => candidate in OPEN) : [name];
  const reasons: string[] = [];
  for (const backend of candidates) {
    try {
      const model = open(backend).load(capped, { threads });
      const notes = reasons.length > 0 ? [`running on ${backend}: ${reasons.join("; ")}`] : [];
      if (threads > model.threads) notes.push(`the ${backend} backend runs on one thread`);
      return { backend, model, config, notes };
    } catch (error) {
      if (backend === candidates.at(-1) || !cannotRun(error)) throw error;
      reasons.push(error.message);
    }
  }
  throw new Error("there is no backend at all");
}

/** @throws Llama2Error E_DEVICE_UNAVAILABLE */
function open(name: BackendName): Backend {
  const opener = OPEN[name];
  if (opener) return opener();
  const known = Object.keys(OPEN).join(", ");
  throw new Llama2Error(
    "E_DEVICE_UNAVAILABLE",
    `this release has no ${name} backend. It has ${known}: name one of those, or let auto choose`,
  );
}

/** Whether this is the backend's fault, and another may do better. */
function cannotRun(error: unknown): error is Llama2Error {
  return error instanceof Llama2Error && (error.code === "E_DEVICE_UNAVAILABLE" || error.code === "E_LIMIT");
}
