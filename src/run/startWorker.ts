/*
 * Starts the model's thread as a Node worker.
 *
 * Its file is beside this one: TypeScript when a clone runs its sources, JavaScript in the build. (tsc rewrites only
 * the specifiers of imports, so the name is chosen here.)
 */
import { Worker } from "node:worker_threads";
import { Llama2Error } from "../errors.ts";
import type { Channel } from "./client.ts";
import type { FromWorker } from "./protocol.ts";

/** A worker that has no model yet. */
let early: Worker | undefined;

/**
 * Start the next model's thread before the model is known, since a thread takes a while to start. It does not keep the
 * process alive.
 */
export function startEarly(): void {
  try {
    const worker = newWorker();
    worker.unref();
    worker.on("error", () => {}); // loadModel starts another, and reports why that fails
    worker.on("exit", () => {
      if (early === worker) early = undefined;
    });
    early = worker;
  } catch {
    // the same
  }
}

/**
 * A thread that has no model yet.
 * @throws Llama2Error E_DEVICE_UNAVAILABLE if the process may not start one
 */
export function startWorker(): Channel {
  const worker = early ?? newWorker();
  early = undefined;
  let death: Error | undefined;
  return {
    post: (message, transfer = []) => worker.postMessage(message, transfer),
    onMessage: (listener) => worker.on("message", (message: FromWorker) => listener(message)),
    onExit(listener) {
      worker.on("error", (error) => {
        death = typed(error);
      });
      worker.on("exit", (code) => listener(death ?? new Error(`the model's thread ended with code ${code}`)));
    },
    keepAlive: (keep) => (keep ? worker.ref() : worker.unref()),
    terminate: async () => {
      await worker.terminate();
    },
  };
}

function newWorker(): Worker {
  // the flags that the caller's process was started with, such as --input-type, are not meant for this thread
  const options = { execArgv: [] };
  try {
    process.cwd(); // a thread without one dies before it runs anything
    return import.meta.url.endsWith(".ts")
      ? new Worker(new URL("./worker.ts", import.meta.url), options)
      : new Worker(new URL("./worker.js", import.meta.url), options);
  } catch (error) {
    throw typed(error as Error);
  }
}

/** What Node says when it cannot run a thread, as an error of ours. */
function typed(error: NodeJS.ErrnoException): Error {
  if (error.code === "ERR_WORKER_OUT_OF_MEMORY") {
    return new Llama2Error("E_LIMIT", "the model's thread has run out of memory. A shorter context needs less", {
      option: "context",
    });
  }
  if (error.code === "ERR_ACCESS_DENIED") {
    const message = "this process may not start threads, and the model needs one: start node with --allow-worker";
    return new Llama2Error("E_DEVICE_UNAVAILABLE", message);
  }
  if (error.syscall === "uv_cwd") {
    const message = "the current folder has been deleted, and no thread can start in it: change to another one";
    return new Llama2Error("E_DEVICE_UNAVAILABLE", message);
  }
  return error;
}
