/*
 * The worker's end: holds the model, and drives it in slices of about 10 ms.
 *
 * A forward pass is synchronous: while one runs, the thread hears nothing. It runs here and not in the caller's
 * thread, whose event loop stays free. Between two slices this thread looks for messages, so a cancel is heard
 * within one pass, and several jobs on one model take turns.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import type { Context } from "../backend/backend.js";
import { availableMemory, sequenceBytes } from "../backend/limits.js";
import { type Loaded, load } from "../backend/load.js";
import { Checkpoint } from "../checkpoint/checkpoint.js";
import { Llama2Error } from "../errors.js";
import { startJob } from "./jobs.js";
import type { FailureInfo, FromWorker, Request, Setup, ToWorker } from "./protocol.js";

const SLICE_MS = 10;

const port = parentPort as MessagePort;
const post = (message: FromWorker) => port.postMessage(message);

const loaded = open(workerData as Setup);
if (loaded) serve(loaded);

/** Load the model, and say so; or say why not, and let the worker end. */
function open({ path, backend, threads, context }: Setup): Loaded | undefined {
  try {
    const checkpoint = new Checkpoint(path);
    try {
      post({ type: "opened", vocabSize: checkpoint.config.vocabSize });
      const loaded = load(checkpoint, backend, context, threads);
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
  const cancelled = new Set<number>();
  const running = new Map<number, Promise<void>>();
  const sessions = new Map<number, Context>();
  let idle: Context | undefined; // one that nobody uses at the moment

  /** Run one job to its end, or until it is cancelled. */
  async function drive(id: number, request: Request, context: Context, sequences: number): Promise<void> {
    try {
      const job = startJob(request, { context, sequences, vocabSize: config.vocabSize, maxBatch: model.maxBatch });
      let sliceEnd = performance.now() + SLICE_MS;
      try {
        for (const _ of job.run()) {
          if (performance.now() < sliceEnd) continue;
          post({ type: "output", id, output: job.take() });
          await new Promise((resolve) => setImmediate(resolve)); // messages come in
          if (cancelled.has(id)) break;
          sliceEnd = performance.now() + SLICE_MS;
        }
      } finally {
        post({ type: "output", id, output: job.take() });
      }
      post({ type: "done", id, timings: job.timings });
    } catch (error) {
      post({ type: "failed", id, error: describe(error) });
    } finally {
      cancelled.delete(id);
    }
  }

  /** Give a job a context: its session's, one of its own for many stories, or one that is idle. */
  async function start(id: number, session: number | undefined, request: Request): Promise<void> {
    let sequences = session === undefined ? sequencesFor(request) : 1;
    let context = session === undefined ? undefined : sessions.get(session);
    try {
      if (!context) [context, sequences] = takeContext(sequences);
    } catch (error) {
      post({ type: "failed", id, error: describe(error) });
      return;
    }
    if (session !== undefined) sessions.set(session, context);
    await drive(id, request, context, sequences);
    if (session === undefined) giveBack(context, sequences);
  }

  /** A context with room for so many sequences, or for fewer if the backend cannot hold them. */
  function takeContext(sequences: number): [Context, number] {
    if (sequences === 1 && idle) {
      const context = idle;
      idle = undefined;
      return [context, 1];
    }
    try {
      return [model.openContext(sequences), sequences];
    } catch (error) {
      if (sequences === 1 || describe(error).code !== "E_LIMIT") throw error;
      return takeContext(Math.floor(sequences / 2));
    }
  }

  function giveBack(context: Context, sequences: number): void {
    if (sequences === 1 && !idle) idle = context;
    else context.dispose();
  }

  /** How many stories to tell at once: as many as fit into a batch, and into a quarter of the memory. */
  function sequencesFor(request: Request): number {
    if (request.type !== "generate") return 1;
    const fitting = Math.floor(availableMemory() / 4 / sequenceBytes(config));
    return Math.max(1, Math.min(request.seeds.length, model.maxBatch, fitting));
  }

  async function close(): Promise<void> {
    await Promise.all(running.values());
    idle?.dispose();
    for (const context of sessions.values()) context.dispose();
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
      case "endSession": {
        const context = sessions.get(message.session);
        sessions.delete(message.session);
        if (context) giveBack(context, 1);
        break;
      }
      case "close":
        close();
    }
  });
}

function describe(error: unknown): FailureInfo {
  if (error instanceof Llama2Error) return { code: error.code, message: error.message, remedy: error.remedy };
  // backend/load.ts refuses what the machine could not hold at all; this is what it cannot hold now
  if (error instanceof RangeError && /allocation failed|array length/.test(error.message)) {
    const message = "there is not enough free memory. A smaller model needs less, and so does a shorter context";
    return { code: "E_LIMIT", message, remedy: { option: "context" } };
  }
  return { code: undefined, message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}
