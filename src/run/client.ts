/*
 * The caller's end of the worker.
 */
import type { Worker } from "node:worker_threads";
import { Llama2Error } from "../errors.ts";
import type { FailureInfo, FromWorker, Output, Request, Setup, Timings, ToWorker } from "./protocol.ts";
import { startWorker } from "./startWorker.ts";

/** What the worker says once the model is ready. */
export type LoadedInfo = Omit<Extract<FromWorker, { type: "loaded" }>, "type">;

interface Ending {
  answered: boolean;
  timings?: Omit<Timings, "loadMs">;
  error?: Error;
}

/** Output that has come and is not yet taken, and whoever waits for more. */
class Inbox {
  private readonly outputs: Output[] = [];
  private wake = () => {};
  /** How it ended: by the worker, when the request is `answered`, or because nobody waits any more. */
  ended: Ending | undefined;

  put(output: Output): void {
    this.outputs.push(output);
    this.wake();
  }
  end(how: Ending): void {
    this.ended ??= how;
    this.wake();
  }
  /** The next output, or undefined at the end. */
  async take(): Promise<Output | undefined> {
    while (this.outputs.length === 0 && !this.ended) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    return this.outputs.shift();
  }
}

/** A worker that has not been told its model yet. */
let early: Worker | undefined;

/**
 * Start the next model's worker before anybody knows the model, since a thread takes a while to start. It does not keep
 * the process alive.
 */
export function startEarly(): void {
  try {
    const worker = startWorker();
    worker.unref();
    worker.on("error", () => {}); // whoever needs one starts another, and hears why that fails
    worker.on("exit", () => {
      if (early === worker) early = undefined;
    });
    early = worker;
  } catch {
    // the same
  }
}

/** A model that lives in a worker. */
export class WorkerClient {
  private readonly worker: Worker;
  private readonly inboxes = new Map<number, Inbox>();
  private readonly exited: Promise<void>;
  private nextId = 1;
  private death: Error | undefined;

  /** Start loading. `onOpened` is told the vocabulary's size as soon as the header has been read. */
  static async load(
    setup: Setup,
    onOpened: (vocabSize: number) => Promise<void>,
    signal?: AbortSignal,
  ): Promise<{ client: WorkerClient; info: LoadedInfo }> {
    signal?.throwIfAborted();
    const client = new WorkerClient(setup);
    const whileLoading = new AbortController(); // takes the signal's listener away in the end
    try {
      const info = await new Promise<LoadedInfo>((resolve, reject) => {
        let told: Promise<void> | undefined;
        client.worker.on("message", (message: FromWorker) => {
          if (message.type === "opened") {
            told = onOpened(message.vocabSize);
            told.catch(reject);
          } else if (message.type === "loaded") told?.then(() => resolve(message), reject);
          else if (message.type === "loadFailed") reject(revive(message.error));
        });
        client.exited.then(() => reject(client.death));
        signal?.addEventListener("abort", () => reject(signal.reason), { signal: whileLoading.signal });
      });
      client.rest();
      return { client, info };
    } catch (error) {
      await client.worker.terminate();
      throw error;
    } finally {
      whileLoading.abort();
    }
  }

  private constructor(setup: Setup) {
    this.worker = early ?? startWorker();
    early = undefined;
    this.worker.ref();
    this.exited = new Promise((resolve) => {
      this.worker.on("error", (error) => {
        this.death = error;
      });
      this.worker.on("exit", (code) => {
        this.death ??= new Error(`the model's worker ended with code ${code}`);
        for (const inbox of this.inboxes.values()) inbox.end({ answered: false, error: this.death });
        resolve();
      });
    });
    this.worker.on("message", (message: FromWorker) => {
      if (message.type === "output") this.inboxes.get(message.id)?.put(message.output);
      else if (message.type === "done") this.inboxes.get(message.id)?.end({ answered: true, timings: message.timings });
      else if (message.type === "failed")
        this.inboxes.get(message.id)?.end({ answered: true, error: revive(message.error) });
    });
    this.send({ type: "load", setup });
  }

  /**
   * Send a request; its output comes piece by piece. Leaving the loop, or the signal, cancels it.
   * @returns where the time went, for a generation
   */
  async *request<T extends Output>(
    request: Request,
    { session, signal }: { session?: number; signal?: AbortSignal } = {},
  ): AsyncGenerator<T, Omit<Timings, "loadMs"> | undefined> {
    signal?.throwIfAborted();
    if (this.death) throw this.death;
    const id = this.nextId++;
    const inbox = new Inbox();
    this.inboxes.set(id, inbox);
    this.worker.ref();
    const abort = () => inbox.end({ answered: false, error: signal?.reason });
    signal?.addEventListener("abort", abort, { once: true });
    try {
      this.send({ type: "start", id, session, request });
      for (let output = await inbox.take(); output; output = await inbox.take()) {
        signal?.throwIfAborted();
        yield output as T;
      }
      if (inbox.ended?.error) throw inbox.ended.error;
      return inbox.ended?.timings;
    } finally {
      if (!inbox.ended?.answered) this.send({ type: "cancel", id });
      signal?.removeEventListener("abort", abort);
      this.inboxes.delete(id);
      this.rest();
    }
  }

  endSession(session: number): void {
    this.send({ type: "endSession", session });
  }

  /** End the worker, after the pass it is at. May be called twice. */
  async close(): Promise<void> {
    this.death ??= new Error("the model was disposed");
    for (const [id, inbox] of this.inboxes) {
      this.send({ type: "cancel", id });
      inbox.end({ answered: false, error: this.death });
    }
    this.send({ type: "close" });
    this.worker.ref();
    await this.exited;
  }

  private send(message: ToWorker): void {
    this.worker.postMessage(message);
  }

  /** An idle worker does not keep the process alive. */
  private rest(): void {
    if (this.inboxes.size === 0) this.worker.unref();
  }
}

/** An error from the other thread. */
function revive({ code, message, remedy }: FailureInfo): Error {
  return code ? new Llama2Error(code, message, remedy) : new Error(message);
}
