/*
 * Opening a model for a command.
 */
import { existsSync } from "node:fs";
import { Llama2Error } from "../errors.ts";
import { loadModel, type Model } from "../model.ts";
import { tell } from "./io.ts";
import type { MachineFlags } from "./options.ts";

/** What can be done about a model that is no file. */
const NO_MODEL = `
  Without a model, llama2 tells a story with the one that comes with it.
  llama2.c's models (stories15M.bin and others) are at https://huggingface.co/karpathy/tinyllamas
  The commands are listed by: llama2 --help`;

/** Load the model at `path`, or the bundled one, and tell what its backend has to say. */
export async function openModel(
  path: string | undefined,
  flags: MachineFlags,
  tokenizer: string | null | undefined,
  signal: AbortSignal,
): Promise<Model> {
  try {
    const { backend, threads, context, precision, kvPrecision, device } = flags;
    const options = { backend, threads, context, precision, kvPrecision, device };
    const model = await loadModel(path, { ...options, tokenizer, signal });
    for (const note of model.notes) tell(note);
    return model;
  } catch (error) {
    const isMissing =
      error instanceof Llama2Error && error.code === "E_FILE" && path !== undefined && !existsSync(path);
    if (!isMissing) throw error;
    throw new Llama2Error(error.code, error.message + NO_MODEL);
  }
}
