/*
 * A helper thread: its own instance of the kernels, on the memory that all threads share.
 */
import { workerData } from "node:worker_threads";
import { type Globals, instantiate, readyWord } from "./kernels.ts";

export interface ThreadData {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  globals: Globals;
}

const { module, memory, globals } = workerData as ThreadData;
try {
  instantiate(module, memory, globals).work();
} catch (error) {
  // wake the thread that waits for this one
  Atomics.store(new Int32Array(memory.buffer), readyWord(globals), -(2 ** 20));
  throw error;
}
