/*
 * A helping thread: its own instance of the kernels, on the memory that all share.
 */
import { workerData } from "node:worker_threads";
import { type Globals, instantiate } from "./kernels.js";

export interface ThreadData {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  globals: Globals;
}

const { module, memory, globals } = workerData as ThreadData;
instantiate(module, memory, globals).work();
