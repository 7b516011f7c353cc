/*
 * Every backend that can run here, the native one once for each instruction set, wasm once for each build: tests of
 * their common promises are written once and run against each.
 */
import { existsSync } from "node:fs";
import type { Backend } from "../../src/backend/backend.ts";
import { ADDON_PATH, loadAddon } from "../../src/backend/cpu/addon.ts";
import { openCpu } from "../../src/backend/cpu/cpu.ts";
import { ts } from "../../src/backend/ts/ts.ts";
import { wasm } from "../../src/backend/wasm/wasm.ts";
import { shortOrLong } from "./full.ts";

export interface Candidate {
  name: string;
  backend: Backend;
  /** How many threads are worth trying. */
  threads: number[];
}

export const hasAddon = existsSync(ADDON_PATH);
export const needsAddon = hasAddon ? "" : " (skipped: the native addon has not been built)";

const cpus = (): Candidate[] => {
  if (!hasAddon) return [];
  const isas = loadAddon().isas(); // the best last
  return isas.slice(shortOrLong(-1, 0)).map((isa) => ({
    name: `cpu, ${isa}`,
    backend: withIsa(isa, openCpu),
    threads: shortOrLong([1, 3], [1, 2, 3, 7]),
  }));
};

/** Do `work` with LLAMA2_ISA set, until it returns or the promise that it returns is settled. */
export function withIsa<T>(isa: string, work: () => T): T {
  const before = process.env.LLAMA2_ISA;
  const restore = () => {
    if (before === undefined) delete process.env.LLAMA2_ISA;
    else process.env.LLAMA2_ISA = before;
  };
  process.env.LLAMA2_ISA = isa;
  let result: T | undefined;
  try {
    result = work();
    return result instanceof Promise ? (result.finally(restore) as T) : result;
  } finally {
    if (!(result instanceof Promise)) restore();
  }
}

/** The wasm backend as it is built for one thread, and as it is for several, which share memory. */
const wasms: Candidate[] = [
  { name: "wasm", backend: wasm, threads: [1] },
  { name: "wasm, shared memory", backend: { ...wasm, load: onThreads(3) }, threads: shortOrLong([3], [2, 3, 7]) },
];

/** wasm's `load` that runs on `several` threads where the number is its own choice, or one. */
function onThreads(several: number): Backend["load"] {
  return (source, contextLength, { threads, ...others }) =>
    wasm.load(source, contextLength, { ...others, threads: threads > 1 ? threads : several });
}

export const candidates: Candidate[] = [{ name: "ts", backend: ts, threads: [1] }, ...wasms, ...cpus()];
