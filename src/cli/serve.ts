/*
 * llama2 serve: models for OpenAI's clients, on this machine.
 */
import { Llama2Error } from "../errors.ts";
import type { Model } from "../model.ts";
import { checkServeOptions, type ServeOptions, StoryServer } from "../server/server.ts";
import { Interrupted, interruptible, tell } from "./io.ts";
import { openModel } from "./model.ts";
import type { MachineFlags } from "./options.ts";

export interface ServeFlags extends MachineFlags {
  host: string;
  port: number;
  apiKey?: string;
  slots: number;
  queue: number;
  tokenizer?: string;
}

/** Serve until Ctrl-C or SIGTERM, then finish the running requests; a second signal ends the process. */
export async function serve(paths: readonly string[], flags: ServeFlags): Promise<void> {
  const { host, port, slots, queue } = flags;
  const apiKey = flags.apiKey ?? (process.env.LLAMA2_API_KEY || undefined);
  const options: ServeOptions = { host, port, slots, queue, apiKey };
  checkServeOptions(options);
  const models: Model[] = [];
  try {
    await interruptible(async (signal) => {
      for (const path of paths.length > 0 ? paths : [undefined]) {
        const model = await openModel(path, flags, flags.tokenizer, signal);
        models.push(model);
        if (models.some((other) => other !== model && other.info.name === model.info.name)) {
          throw new Llama2Error(
            "E_USAGE",
            `two models are called ${model.info.name}: rename one, since names are their ids`,
          );
        }
      }
    });
    const server = await StoryServer.listen(models, options);
    tell(`serving ${models.map(({ info }) => info.name).join(", ")} at ${server.url}`);
    await firstSignal();
    await server.drain();
  } finally {
    for (const model of models) await model.dispose();
  }
}

/** Ctrl-C or SIGTERM. The next one ends the process. */
function firstSignal(): Promise<void> {
  return new Promise((resolve) => {
    let first = true;
    const onSignal = () => {
      if (!first) process.exit(Interrupted.exitCode);
      first = false;
      resolve();
    };
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.removeAllListeners(signal); // as process 1, SIGTERM would end it at once
      process.on(signal, onSignal);
    }
  });
}
