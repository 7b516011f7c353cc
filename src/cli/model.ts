/*
 * Finding and opening a model for a command.
 */
import { existsSync } from "node:fs";
import { Llama2Error } from "../errors.ts";
import { loadModel } from "../loadModel.ts";
import { misplaced } from "../loadOptions.ts";
import type { Model } from "../model.ts";
import { adviceForModel, adviceToPull } from "./hints.ts";
import { confirm, tell } from "./io.ts";
import { COMMANDS, type MachineFlags } from "./options.ts";

const CUDA_FLAGS = { precision: "--precision fp16", kvPrecision: "--kv-precision", device: "--device" };

/** Load the model `name`, or the bundled one, and print the notes of its backend. */
export function openModel(
  name: string | undefined,
  flags: MachineFlags,
  tokenizer: string | null | undefined,
  signal: AbortSignal,
): Promise<Model> {
  checkBackendFlags(flags);
  return withAdvice(name, signal, async (path) => {
    const { backend, threads, context, precision, kvPrecision, device, lookahead, guesses } = flags;
    const options = { backend, threads, context, precision, kvPrecision, device, lookahead, guesses };
    const model = await loadModel(path, { ...options, tokenizer, signal });
    for (const note of model.notes) tell(note);
    return model;
  });
}

/** @throws Llama2Error E_USAGE for flags that the backend does not have */
export function checkBackendFlags({ backend, ...flags }: MachineFlags): void {
  const why = misplaced(backend, flags, CUDA_FLAGS);
  if (why) throw new Llama2Error("E_USAGE", why);
}

/** Open the model `name`; if it does not exist, the error has advice. */
export async function withAdvice<T>(
  name: string | undefined,
  signal: AbortSignal,
  open: (path: string | undefined) => Promise<T>,
): Promise<T> {
  const path = name === undefined ? undefined : await findModel(name, signal);
  try {
    return await open(path);
  } catch (error) {
    const isMissing =
      error instanceof Llama2Error && error.code === "E_FILE" && path !== undefined && !existsSync(path);
    throw isMissing ? await advised(error, path) : error;
  }
}

/** The error for a model that does not exist, with advice. */
export async function advised({ code, message }: Llama2Error, path: string): Promise<Llama2Error> {
  const { listedModels } = await import("../pull/reference.ts");
  const listed = listedModels().map(({ name }) => name);
  return new Llama2Error(code, [message, ...adviceForModel(path, COMMANDS, listed)].join("\n"));
}

/**
 * The path of a model: `name` itself, or the pulled model with that name. If it has not been pulled, the user is asked on
 * a terminal whether to pull it.
 * @throws Llama2Error E_FILE if it has not been pulled; the errors of `pull`
 */
export async function findModel(name: string, signal: AbortSignal): Promise<string> {
  if (existsSync(name)) return name;
  const { canBePulled, findModel } = await import("../pull/find.ts");
  const path = findModel(name);
  if (path !== undefined) return path;
  if (!canBePulled(name)) return name; // opening it will fail, with a message
  const { offlineError, settingsOf } = await import("../pull/settings.ts");
  if (settingsOf().offline) throw offlineError(`${name} is not here`);
  if (await confirm(`${name} is not here. Pull it?`, signal)) {
    const { pullWithProgress } = await import("./pull.ts");
    return (await pullWithProgress(name, signal)).path;
  }
  throw new Llama2Error("E_FILE", [`there is no ${name} here`, ...adviceToPull(name)].join("\n"));
}
