/*
 * Loading a model into the kernels' memory. Needs nothing but WebAssembly; wasm.ts adds what Node has, files and
 * threads, and browser/worker.ts what a page has.
 */
import { Llama2Error } from "../../errors.ts";
import type { Holdings, WeightSource } from "../../llama2/weights.ts";
import type { LoadedModel, Memory } from "../backend.ts";
import { checkMemory, shorter } from "../limits.ts";
import { Team } from "../team.ts";
import { createMemory, type Globals, instantiate, type Kernels, MAX_BYTES } from "./kernels.ts";
import { loadWeights, WasmModel } from "./model.ts";
import { MAX_BATCH, memoryOf, type Plan, planModel } from "./plan.ts";

/** Kernels, and a memory that has room for a model's weights. */
export interface Prepared {
  plan: Plan;
  memory: WebAssembly.Memory;
  globals: Globals;
  kernels: Kernels;
}

/**
 * Make room for a model. With more than one thread, `module` must be the kernels that share their memory.
 * @param patience how often a waiting thread checks for the others before it sleeps
 * @throws Llama2Error E_LIMIT if the memory cannot be allocated
 */
export function prepare(
  module: WebAssembly.Module,
  source: Holdings,
  contextLength: number,
  threads: number,
  patience: number,
): Prepared {
  const plan = planModel(source, contextLength, threads);
  const memory = createMemory(plan.bytes, plan.globals.exp2, threads > 1);
  const globals = { ...plan.globals, threads, patience };
  return { plan, memory, globals, kernels: instantiate(module, memory, globals) };
}

/** Read the weights into the room that was made for them. */
export async function fill(
  { plan, memory, globals, kernels }: Prepared,
  source: WeightSource,
  contextLength: number,
): Promise<LoadedModel> {
  await loadWeights(source, memory, plan);
  const { threads } = globals;
  const model = new WasmModel({ ...source.config, seqLen: contextLength }, kernels, memory, plan, new Team(threads));
  return {
    threads,
    maxBatch: MAX_BATCH,
    openContext: (sequences) => model.openContext(sequences),
    dispose() {
      if (!model.disposed) kernels.stop(threads);
      model.disposed = true;
    },
  };
}

/** What a model takes in the kernels' memory, of which `memory` bytes are available. */
export function estimate(source: Holdings, contextLength: number, threads: number, memory = Infinity): Memory {
  return { ...memoryOf(source, contextLength, threads), available: Math.min(memory, MAX_BYTES) };
}

/** @throws Llama2Error E_LIMIT if this machine, or WebAssembly, has no room for a model and one sequence */
export function checkFits(source: Holdings, contextLength: number, threads: number, memory = Infinity): void {
  const total = (context: number) => {
    const { weights, perSequence, scratch } = memoryOf(source, context, threads);
    return weights + perSequence + scratch;
  };
  const bytes = total(contextLength);
  const config = { ...source.config, seqLen: contextLength };
  if (bytes > MAX_BYTES) {
    const message = `the model and a context of ${contextLength} positions need ${(bytes / 2 ** 30).toFixed(1)} GiB, and WebAssembly addresses 4 GiB. Use another backend`;
    const value = shorter(config);
    if (total(value) > MAX_BYTES) throw new Llama2Error("E_LIMIT", message, { option: "backend", value: "cpu" });
    throw new Llama2Error("E_LIMIT", `${message}, or a context of ${value}`, { option: "context", value });
  }
  checkMemory(estimate(source, contextLength, threads, memory), config);
}
