/*
 * How to open each backend where there are files, threads and native code: in Node.
 *
 * A backend's code is loaded only when it is tried, so the first text does not wait for the others.
 */
import type { Backend } from "./backend.ts";
import { whyNotCuda } from "./cuda/addon.ts";
import { BACKENDS, type BackendName } from "./names.ts";

export interface Opener {
  name: BackendName;
  /** @throws Llama2Error E_DEVICE_UNAVAILABLE with the reason */
  open(): Promise<Backend>;
  /** Why opening it would fail, if that is known without trying; "" if it is not worth a note. */
  whyNot?(): string | undefined;
  /** It has options of its own (`LoadOptions.own`): choosing one of them chooses this backend. */
  hasOptions?: boolean;
}

const ALL: Record<BackendName, Omit<Opener, "name">> = {
  cuda: { open: async () => (await import("./cuda/cuda.ts")).openCuda(), whyNot: whyNotCuda, hasOptions: true },
  cpu: { open: async () => (await import("./cpu/cpu.ts")).openCpu() },
  wasm: { open: async () => (await import("./wasm/wasm.ts")).wasm },
  ts: { open: async () => (await import("./ts/ts.ts")).ts },
};

/** The fastest first. */
export const OPENERS: readonly Opener[] = BACKENDS.map((name) => ({ name, ...ALL[name] }));

/** @throws Llama2Error E_DEVICE_UNAVAILABLE with the reason why it does not work here */
export const openBackend = (name: BackendName): Promise<Backend> => ALL[name].open();
