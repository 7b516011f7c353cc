/*
 * Choosing a backend.
 */
import { Llama2Error } from "../errors.ts";
import type { Config } from "../llama2/transformer.ts";
import type { WeightSource } from "../llama2/weights.ts";
import type { Backend, LoadedModel, LoadOptions, Memory } from "./backend.ts";
import { checkLimits } from "./limits.ts";
import { availableMemory } from "./memory.ts";
import type { BackendName } from "./names.ts";
import { OPENERS } from "./openers.ts";
import { mostThreads } from "./processors.ts";

/** A model on a backend, and notes for the user about that choice. */
export interface Loaded {
  backend: BackendName;
  isa: string; // the instruction set in use
  exact: boolean; // its logits are run.c's, bit for bit
  model: LoadedModel;
  config: Config; // seqLen is the context
  memory: Memory; // what the model takes, and how much was available
  notes: string[];
}

/**
 * Load the weights on the named backend, or with `auto` on the fastest one that works. A named backend never falls back;
 * if `auto` does, a note says why.
 * @param context caps the positions a sequence can have; 0: as many as the model was made for
 * @param threads 0: the backend's choice. More threads than processors are not used, and a note says so
 * @param options the model's name, for messages; and options of one backend, which make `auto` choose that one
 * @throws Llama2Error E_DEVICE_UNAVAILABLE, E_DEVICE_OOM, E_LIMIT, and whatever the source throws
 */
export async function load(
  source: WeightSource,
  name: BackendName | "auto",
  context: number,
  threads: number,
  options: Pick<LoadOptions, "name" | "own"> = {},
): Promise<Loaded> {
  const { seqLen } = source.config;
  const contextLength = context === 0 ? seqLen : Math.min(context, seqLen);
  const config = { ...source.config, seqLen: contextLength };
  checkLimits(source, contextLength);

  const useful = Math.min(threads, mostThreads());
  const loadOptions = { ...options, threads: useful, memory: availableMemory() };
  const isChosen = Object.values(options.own ?? {}).some((value) => value !== undefined);
  const candidates = OPENERS.filter((opener) =>
    name !== "auto" ? opener.name === name : opener.hasOptions || !isChosen,
  );
  const reasons: string[] = [];
  for (const { name: backend, open, whyNot } of candidates) {
    const reason = candidates.length > 1 ? whyNot?.() : undefined;
    if (reason) reasons.push(reason);
    if (reason !== undefined) continue;
    try {
      const opened = await open();
      const memory = opened.estimate(source, contextLength, loadOptions);
      const model = await opened.load(source, contextLength, loadOptions);
      const notes = reasons.length > 0 ? [`running on ${backend}: ${reasons.join("; ")}`] : [];
      if (!opened.exact && name === "auto") {
        notes.push(`running on ${backend}: sampled text may differ from llama2.c's (other backends give the same)`);
      }
      if (useful > model.threads) notes.push(`the ${backend} backend runs on one thread`);
      else if (threads > useful) notes.push(tooMany(threads, useful));
      return { backend, isa: opened.isa, exact: opened.exact, model, config, memory, notes };
    } catch (error) {
      if (backend === candidates.at(-1)?.name || !cannotRun(error)) throw error;
      reasons.push(error.message);
    }
  }
  throw new Error("there is no backend at all");
}

/** The backends that work here, the fastest first. */
export async function availableBackends(): Promise<Backend[]> {
  const available: Backend[] = [];
  for (const { open, whyNot } of OPENERS) {
    if (whyNot?.() !== undefined) continue;
    try {
      available.push(await open());
    } catch (error) {
      if (!cannotRun(error)) throw error;
    }
  }
  return available;
}

const tooMany = (threads: number, useful: number) =>
  `${threads} threads are more than this process has processors for: it runs on ${useful}`;

/** Whether this is the backend's fault, so that another may work. */
function cannotRun(error: unknown): error is Llama2Error {
  const codes = ["E_DEVICE_UNAVAILABLE", "E_DEVICE_OOM", "E_DEVICE_LOST", "E_LIMIT"];
  return error instanceof Llama2Error && codes.includes(error.code);
}
