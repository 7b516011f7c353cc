/*
 * Choosing a backend.
 */
import { Llama2Error } from "../errors.ts";
import type { Config } from "../llama2/transformer.ts";
import type { WeightSource } from "../llama2/weights.ts";
import { BACKENDS, type Backend, type BackendName, type LoadedModel, type LoadOptions, meansCuda } from "./backend.ts";
import { whyNotCuda } from "./cuda/addon.ts";
import { checkLimits, checkMemory } from "./limits.ts";
import { availableMemory } from "./memory.ts";
import { mostThreads } from "./processors.ts";

/** A model on a backend, and what the choice deserves to be told. */
export interface Loaded {
  backend: BackendName;
  isa: string; // the instruction set in use
  model: LoadedModel;
  config: Config; // seqLen is the context
  notes: string[];
}

/** How to open each backend. Its code is loaded when it is tried: the first story does not wait for the others'. */
const OPEN: Record<BackendName, () => Promise<Backend>> = {
  cuda: async () => (await import("./cuda/cuda.ts")).openCuda(),
  cpu: async () => (await import("./cpu/cpu.ts")).openCpu(),
  wasm: async () => (await import("./wasm/wasm.ts")).wasm,
  ts: async () => (await import("./ts/ts.ts")).ts,
};

/**
 * Load the weights on the backend that was asked for, or on the best one that works. A named backend never falls
 * back; where `auto` does, a note says why.
 * @param context caps the positions a sequence can have; 0: as many as the model was made for
 * @param threads 0: the backend's own choice. More than the process has processors are not used, and a note says so
 * @param options what only cuda can choose; whoever chooses it means cuda. And the model's name, for messages.
 * @throws Llama2Error E_DEVICE_UNAVAILABLE, E_DEVICE_OOM, E_LIMIT, and whatever the source throws
 */
export async function load(
  source: WeightSource,
  name: BackendName | "auto",
  context: number,
  threads: number,
  options: Omit<LoadOptions, "threads"> = {},
): Promise<Loaded> {
  const { seqLen } = source.config;
  const contextLength = context === 0 ? seqLen : Math.min(context, seqLen);
  const config = { ...source.config, seqLen: contextLength };
  checkLimits(source, contextLength);

  const useful = Math.min(threads, mostThreads());
  const candidates = name !== "auto" ? [name] : meansCuda(options) ? (["cuda"] as const) : BACKENDS;
  const reasons: string[] = [];
  for (const backend of candidates) {
    const reason = backend === "cuda" && candidates.length > 1 ? whyNotCuda() : undefined;
    if (reason) reasons.push(reason);
    if (reason !== undefined) continue;
    try {
      if (backend !== "cuda") checkMemory(source, contextLength, availableMemory()); // cuda looks at the memory of its device
      const opened = await OPEN[backend]();
      const model = await opened.load(source, contextLength, { ...options, threads: useful });
      const notes = reasons.length > 0 ? [`running on ${backend}: ${reasons.join("; ")}`] : [];
      if (backend === "cuda" && name === "auto") {
        notes.push("running on cuda: sampled text may differ from llama2.c's (--backend cpu gives the same)");
      }
      if (useful > model.threads) notes.push(`the ${backend} backend runs on one thread`);
      else if (threads > useful) notes.push(tooMany(threads, useful));
      return { backend, isa: opened.isa, model, config, notes };
    } catch (error) {
      if (backend === candidates.at(-1) || !cannotRun(error)) throw error;
      reasons.push(error.message);
    }
  }
  throw new Error("there is no backend at all");
}

/** The backends that work here, the fastest first. */
export async function availableBackends(): Promise<Backend[]> {
  const available: Backend[] = [];
  for (const name of BACKENDS) {
    if (name === "cuda" && whyNotCuda() !== undefined) continue;
    try {
      available.push(await OPEN[name]());
    } catch (error) {
      if (!cannotRun(error)) throw error;
    }
  }
  return available;
}

const tooMany = (threads: number, useful: number) =>
  `${threads} threads are more than this process has processors for: it runs on ${useful}`;

/** Whether this is the backend's fault, and another may do better. */
function cannotRun(error: unknown): error is Llama2Error {
  const codes = ["E_DEVICE_UNAVAILABLE", "E_DEVICE_OOM", "E_DEVICE_LOST", "E_LIMIT"];
  return error instanceof Llama2Error && codes.includes(error.code);
}
