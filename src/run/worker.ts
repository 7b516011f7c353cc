/*
 * The worker's end: holds the model, and drives it in slices of about 10 ms.
 *
 * A forward pass is synchronous: while one runs, the thread hears nothing. It runs here and not in the caller's
 * thread, whose event loop stays free. Between two slices this thread looks for messages, so a cancel is heard
 * within one pass, and several jobs on one model take turns.
 */
import { basename } from "node:path";
import { type MessagePort, parentPort } from "node:worker_threads";
import { type Loaded, load } from "../backend/load.ts";
import { open as openCheckpoint } from "../checkpoint/open.ts";
import { Llama2Error } from "../errors.ts";
import { filesAt } from "../files/disk.ts";
import { Contexts, isOutOfMemory } from "./contexts.ts";
import type { Job } from "./job.ts";
import { startJob } from "./jobs.ts";
import type { FailureInfo, FromWorker, Request, Setup, ToWorker } from "./protocol.ts";

const SLICE_MS = 10;

const port = parentPort as MessagePort;
const post = (message: FromWorker) => port.postMessage(message);

port.once("message", (message: ToWorker) => {
  if (message.type === "load") open(message.setup).then((loaded) => loaded && serve(loaded));
});

/** Load the model, and say so; or say why not, and let the worker end. */
async function open({ path, backend, threads, context, cuda }: Setup): Promise<Loaded | undefined> {
  try {
    const checkpoint = await openCheckpoint(filesAt(path));
    try {
      post({ type: "opened", vocabSize: checkpoint.config.vocabSize });
      const loaded = await load(checkpoint, backend, context, threads, { ...cuda, name: basename(path, ".bin") });
      const { config, notes, model } = loaded;
      post({ type: "loaded", config, backend: loaded.backend, threads: model.threads, notes });
      return loaded;
    } finally {
      checkpoint.close();
    }
  } catch (error) {
    post({ type: "loadFailed", error: describe(error) });
    return undefined;
  }
}

function serve({ model, config }: Loaded): void {
  const contexts = new Contexts(model, config);
  const cancelled = new Set<number>();
  const running = new Map<number, Promise<void>>();

  /** Give a job what it works with, and run it to its end, or until it is cancelled. */
  async function start(id: number, session: number | undefined, request: Request): Promise<void> {
    try {
      const machine = contexts.take(request, session);
      try {
        await drive(id, startJob(request, machine), () => cancelled.has(id));
      } finally {
        contexts.giveBack(machine, session);
      }
    } catch (error) {
      post({ type: "failed", id, error: describe(error) });
    } finally {
      cancelled.delete(id);
    }
  }

  async function close(): Promise<void> {
    await Promise.all(running.values());
    contexts.dispose();
    model.dispose();
    port.close();
  }

  port.on("message", (message: ToWorker) => {
    switch (message.type) {
      case "start": {
        const job = start(message.id, message.session, message.request);
        running.set(message.id, job);
        job.finally(() => running.delete(message.id));
        break;
      }
      case "cancel":
        if (running.has(message.id)) cancelled.add(message.id);
        break;
      case "endSession":
        contexts.endSession(message.session);
        break;
      case "close":
        close();
    }
  });
}

/** Run a job slice by slice, and post what each makes. */
async function drive(id: number, job: Job, isCancelled: () => boolean): Promise<void> {
  let sliceEnd = performance.now() + SLICE_MS;
  try {
    for (const _ of job.run()) {
      if (performance.now() < sliceEnd) continue;
      post({ type: "output", id, output: job.take() });
      await new Promise((resolve) => setImmediate(resolve)); // messages come in
      if (isCancelled()) break;
      sliceEnd = performance.now() + SLICE_MS;
    }
  } finally {
    post({ type: "output", id, output: job.take() });
  }
  post({ type: "done", id, timings: job.timings });
}

function describe(error: unknown): FailureInfo {
  if (error instanceof Llama2Error) return { code: error.code, message: error.message, remedy: error.remedy };
  // backend/load.ts refuses what the machine could not hold at all; this is what it cannot hold now
  if (isOutOfMemory(error)) {
    const message = "there is not enough free memory. A smaller model needs less, and so does a shorter context";
    return { code: "E_LIMIT", message, remedy: { option: "context" } };
  }
  return { code: undefined, message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}
