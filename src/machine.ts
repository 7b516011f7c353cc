/*
 * What this package runs on here.
 */
import { availableBackends } from "./backend/load.ts";
import type { BackendName } from "./backend/names.ts";

export interface Machine {
  node: string;
  platform: string;
  /** The instruction set of the fastest backend whose bits are run.c's. */
  isa: string;
  /** Those that work, the fastest first. */
  backends: BackendName[];
}

export async function machine(): Promise<Machine> {
  const backends = await availableBackends();
  return {
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    isa: backends.find(({ exact }) => exact)?.isa ?? "none",
    backends: backends.map(({ name }) => name),
  };
}
