/*
 * The wasm backend: SIMD kernels in WebAssembly, on any number of threads. Runs wherever Node does.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { Llama2Error } from "../../errors.ts";
import { packagePath } from "../../files/packageFolder.ts";
import type { Holdings } from "../../llama2/weights.ts";
import type { Backend, LoadOptions } from "../backend.ts";
import { threadsFor } from "../threads.ts";
import { readyWord } from "./kernels.ts";
import { checkFits, estimate, fill, prepare } from "./load.ts";
import type { ThreadData } from "./thread.ts";

export const wasm: Backend = {
  name: "wasm",
  isa: "simd128",
  exact: true,
  estimate: (source, contextLength, options) =>
    estimate(source, contextLength, threadsOf(source, options), options.memory),
  async load(source, contextLength, options) {
    const threads = threadsOf(source, options);
    checkFits(source, contextLength, threads, options.memory);
    const shared = threads > 1;
    const module = compile(shared ? "kernels-shared.wasm" : "kernels.wasm");
    const prepared = prepare(module, source, contextLength, threads, patienceOf(threads));
    const { memory, globals } = prepared;
    // while the weights are read, the threads start
    const team = Array.from({ length: threads - 1 }, (_, i) => {
      return startThread({ module, memory, globals: { ...globals, thread: i + 1 } });
    });
    try {
      const model = await fill(prepared, source, contextLength);
      if (shared) awaitThreads(memory, readyWord(globals), threads - 1);
      return model;
    } catch (error) {
      for (const worker of team) worker.terminate();
      throw error;
    }
  },
};

/**
 * Measured with 0.26 million weights: two threads are 1.5 times as fast as one on an idle machine, and 0.6 times on a
 * busy one. A model that small is fast anyway, so it gets one thread.
 */
const WEIGHTS_A_THREAD = 600_000;

const threadsOf = (source: Holdings, { threads }: LoadOptions) => threads || threadsFor(source, WEIGHTS_A_THREAD);

/**
 * How often a waiting thread checks for the others before it sleeps. Waking a core takes long: with tens of barriers per
 * token, threads that sleep at each are no faster than a single thread. So if each has a core of its own, they check for
 * about 100 microseconds, longer than the time between two tokens.
 */
function patienceOf(threads: number): number {
  return threads <= availableParallelism() ? 100_000 : 1_000;
}

/** Where the build puts the kernels; a clone that runs its sources uses them too. */
const KERNELS = packagePath("dist", "backend", "wasm");
const THREAD = import.meta.url.endsWith(".ts")
  ? new URL("./thread.ts", import.meta.url)
  : new URL("./thread.js", import.meta.url);

const modules = new Map<string, WebAssembly.Module>();

/** @throws Llama2Error E_DEVICE_UNAVAILABLE if the kernels are not there, or this machine lacks their instructions */
function compile(file: string): WebAssembly.Module {
  try {
    const module = modules.get(file) ?? new WebAssembly.Module(readFileSync(join(KERNELS, file)));
    modules.set(file, module);
    return module;
  } catch (error) {
    throw new Llama2Error(
      "E_DEVICE_UNAVAILABLE",
      `the WebAssembly kernels cannot be used: ${(error as Error).message}`,
    );
  }
}

function startThread(workerData: ThreadData): Worker {
  // without the process's own flags: some, such as --input-type, are refused for a file
  const options = { workerData, execArgv: [] };
  const worker = new Worker(THREAD, options);
  worker.unref(); // it does not keep the process alive
  worker.on("error", () => {}); // awaitThreads says it; unheard, it would end this thread too
  return worker;
}

const START_MS = 30_000;

/** Wait until the threads have started, so that none is missing in the first forward pass. */
function awaitThreads(memory: WebAssembly.Memory, readyAt: number, count: number): void {
  const words = new Int32Array(memory.buffer);
  const deadline = performance.now() + START_MS;
  for (let ready = 0; ready < count; ready = Atomics.load(words, readyAt)) {
    if (ready < 0 || performance.now() > deadline) {
      throw new Llama2Error("E_DEVICE_UNAVAILABLE", `not all of ${count} threads started. Use fewer`, {
        option: "threads",
        value: 1,
      });
    }
    Atomics.wait(words, readyAt, ready, 1);
  }
}
