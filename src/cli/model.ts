/*
 * Opening a model for a command.
 */
import { existsSync } from "node:fs";
import { Llama2Error } from "../errors.ts";
import { loadModel } from "../loadModel.ts";
import { misplaced } from "../loadOptions.ts";
import type { Model } from "../model.ts";
import { adviceForModel } from "./hints.ts";
import { tell } from "./io.ts";
import { COMMANDS, type MachineFlags } from "./options.ts";

const CUDA_FLAGS = { precision: "--precision fp16", kvPrecision: "--kv-precision", device: "--device" };

/** Load the model at `path`, or the bundled one, and tell what its backend has to say. */
export function openModel(
  path: string | undefined,
  flags: MachineFlags,
  tokenizer: string | null | undefined,
  signal: AbortSignal,
): Promise<Model> {
  return withAdvice(path, async () => {
    const { backend, threads, context, precision, kvPrecision, device } = flags;
    checkBackendFlags(flags);
    const options = { backend, threads, context, precision, kvPrecision, device };
    const model = await loadModel(path, { ...options, tokenizer, signal });
    for (const note of model.notes) tell(note);
    return model;
  });
}

/** @throws Llama2Error E_USAGE for flags that the backend does not understand */
export function checkBackendFlags({ backend, ...flags }: MachineFlags): void {
  const why = misplaced(backend, flags, CUDA_FLAGS);
  if (why) throw new Llama2Error("E_USAGE", why);
}

/** Open a model; if there is none at `path`, the error says what may be meant. */
export async function withAdvice<T>(path: string | undefined, open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    const isMissing =
      error instanceof Llama2Error && error.code === "E_FILE" && path !== undefined && !existsSync(path);
    if (!isMissing) throw error;
    throw new Llama2Error(error.code, [error.message, ...adviceForModel(path, COMMANDS)].join("\n"));
  }
}
