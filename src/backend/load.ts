/*
 * Choosing a backend, and refusing what no backend could hold.
 */
import { totalmem } from "node:os";
import { Llama2Error } from "../errors.js";
import { type Config, isVector, kvDimOf, shapesOf, type WeightSource } from "../llama2/transformer.js";
import { BACKENDS, type Backend, type BackendName, type LoadedModel } from "./backend.js";
import { openCpu } from "./cpu/cpu.js";
import { ts } from "./ts/ts.js";
import { openWasm } from "./wasm/wasm.js";

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
  const capped: WeightSource = {
    config,
    sharedClassifier: source.sharedClassifier,
    groupSize: source.groupSize,
    read: (tensor, layer, fill) => source.read(tensor, layer, fill),
    readQuantized: (tensor, layer, fill) => source.readQuantized(tensor, layer, fill),
  };
  checkMemory(capped);
  const { backend, notes } = choose(name, capped);
  const model = backend.load(capped, { threads });
  if (threads > model.threads) notes.push(`the ${backend.name} backend runs on one thread`);
  return { backend: backend.name, model, config, notes };
}

/** How to open each backend for a model; each says why if it cannot run here. */
const OPEN: Partial<Record<BackendName, (source: WeightSource) => Backend>> = {
  cpu: openCpu,
  wasm: openWasm,
  ts: () => ts,
};

/** The backend of that name, or the best that opens, with a note for each better one that did not. */
function choose(name: BackendName | "auto", source: WeightSource): { backend: Backend; notes: string[] } {
  if (name !== "auto") return { backend: open(name, source), notes: [] };
  const notes: string[] = [];
  for (const candidate of BACKENDS) {
    if (!OPEN[candidate]) continue;
    try {
      return { backend: open(candidate, source), notes };
    } catch (error) {
      if (!(error instanceof Llama2Error)) throw error;
      notes.push(`${error.message}`);
    }
  }
  throw new Error("no backend opens, and ts always does");
}

/** @throws Llama2Error E_DEVICE_UNAVAILABLE, E_LIMIT */
function open(name: BackendName, source: WeightSource): Backend {
  const opener = OPEN[name];
  if (opener) return opener(source);
  const known = Object.keys(OPEN).join(", ");
  throw new Llama2Error(
    "E_DEVICE_UNAVAILABLE",
    `this release has no ${name} backend. It has ${known}: name one of those, or leave --backend away`,
  );
}

/** Float32 cannot count further: position 2^24 + 1 would get the RoPE angles of position 2^24. */
const MAX_POSITIONS = 2 ** 24;

/** A typed array holds no more; real tensors are far smaller. */
const MAX_NUMBERS = 2 ** 32;
/** Every layer takes some memory beside its numbers; real models have a hundred. */
const MAX_LAYERS = 2 ** 12;

/** @throws Llama2Error E_LIMIT if the context is too long, or the model too large for this machine */
function checkMemory(source: WeightSource): void {
  const p = source.config;
  if (p.seqLen > MAX_POSITIONS) {
    throw new Llama2Error(
      "E_LIMIT",
      `a context of ${p.seqLen} positions is more than the ${MAX_POSITIONS} that float32 can tell apart. Cap it: --context 4096`,
    );
  }
  const tensors = tensorsOf(source);
  const largest = Math.max(...tensors.map(({ d, n }) => d * n));
  if (largest > MAX_NUMBERS || p.nLayers > MAX_LAYERS) {
    throw new Llama2Error(
      "E_LIMIT",
      `the model has ${p.nLayers} layers and tensors of up to ${largest} numbers. More than ${MAX_LAYERS} and ${MAX_NUMBERS} cannot be loaded`,
    );
  }
  const weights = tensors.reduce((sum, { layers, d, n, bytes }) => sum + layers * d * n * bytes, 0);
  const cache = 4 * p.seqLen * (2 * p.nLayers * kvDimOf(p) + p.nHeads);
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

/** The shapes of the tensors that are there, and how many bytes each of their numbers takes. */
function tensorsOf({ config, sharedClassifier, groupSize }: WeightSource) {
  return Object.entries(shapesOf(config))
    .filter(([name]) => name !== "wcls" || !sharedClassifier)
    .map(([name, shape]) => ({ ...shape, bytes: groupSize === 0 || isVector(name) ? 4 : 1 + 4 / groupSize }));
}
