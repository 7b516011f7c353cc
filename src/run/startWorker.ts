/*
 * Where the worker's file is: beside this one, which is TypeScript in a clone that runs its sources as they are, and
 * JavaScript in what was built. (tsc rewrites the specifiers of imports, and no others.)
 */
import { Worker } from "node:worker_threads";

/** Start the thread in which a model lives. It has been told nothing yet. */
export function startWorker(): Worker {
  // the flags that the caller's process was started with, such as --input-type, are not meant for this thread
  const options = { execArgv: [] };
  return import.meta.url.endsWith(".ts")
    ? new Worker(new URL("./worker.ts", import.meta.url), options)
    : new Worker(new URL("./worker.js", import.meta.url), options);
}
