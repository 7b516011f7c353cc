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

/** Load the model that is called `name`, or the bundled one, and tell what its backend has to say. */
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

/** @throws Llama2Error E_USAGE for flags that the backend does not understand */
export function checkBackendFlags({ backend, ...flags }: MachineFlags): void {
  const why = misplaced(backend, flags, CUDA_FLAGS);
  if (why) throw new Llama2Error("E_USAGE", why);
}

/** Open the model that is called `name`; if there is none, the error says what may be meant. */
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

/** The error that there is nothing at `path`, with what may be meant. */
export async function advised({ code, message }: Llama2Error, path: string): Promise<Llama2Error> {
  const { listedModels } = await import("../pull/reference.ts");
  const listed = listedModels().map(({ name }) => name);
  return new Llama2Error(code, [message, ...adviceForModel(path, COMMANDS, listed)].join("\n"));
}

/**
 * The path of a model: `name` itself, or where what it names was pulled to. On a terminal, one that was not is pulled if
 * the user wants that.
 * @throws Llama2Error E_FILE for one that was not pulled; what `pull` throws
 */
export async function findModel(name: string, signal: AbortSignal): Promise<string> {
  if (existsSync(name)) return name;
  const { canBePulled, findModel } = await import("../pull/find.ts");
  const path = findModel(name);
  if (path !== undefined) return path;
  if (!canBePulled(name)) return name; // whoever opens it says that it is not there
  const { offlineError, settingsOf } = await import("../pull/settings.ts");
  if (settingsOf().offline) throw offlineError(`${name} is not here`);
  if (await confirm(`${name} is not here. Pull it?`, signal)) {
    const { pullWithProgress } = await import("./pull.ts");
    return (await pullWithProgress(name, signal)).path;
  }
  throw new Llama2Error("E_FILE", [`there is no ${name} here`, ...adviceToPull(name)].join("\n"));
}
