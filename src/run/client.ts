/*
 * The caller's side of the model's thread, in Node and in browsers.
 */
import { Llama2Error } from "../errors.ts";
import { onAbort } from "./abort.ts";
import { revive } from "./failure.ts";
import type { GuessEntries } from "./guessFile.ts";
import type { FromWorker, Report, SequenceRequest, Setup, ToWorker } from "./protocol.ts";

/** A thread that serves one model (serve.ts). */
export interface Channel {
  post(message: ToWorker, transfer?: ArrayBuffer[]): void;
  onMessage(listener: (message: FromWorker) => void): void;
  /** Called with the reason when the thread has ended. */
  onExit(listener: (why: Error) => void): void;
  /** Whether it keeps the process alive. */
  keepAlive(keep: boolean): void;
  /** End it at once. */
  terminate(): Promise<void>;
}

/** What the thread reports once the model is ready. */
export type LoadedInfo = Omit<Extract<FromWorker, { type: "loaded" }>, "type">;

/** Reports that have arrived and are not yet taken, and the reader that waits for more. */
class Inbox {
  private readonly reports: Report[] = [];
  private wake = () => {};
  private ended = false;
  private error: Error | undefined;

  put(report: Report): void {
    this.reports.push(report);
    this.wake();
  }
  /** No more reports will come: the request has ended or was cancelled. The first reason counts. */
  end(error?: Error): void {
    if (!this.ended) this.error = error;
    this.ended = true;
    this.wake();
  }
  get hasMore(): boolean {
    return this.reports.length > 0;
  }
  /** The next report, or undefined at the end. */
  async take(): Promise<Report | undefined> {
    while (this.reports.length === 0 && !this.ended) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    if (this.error) throw this.error;
    return this.reports.shift();
  }
}

/** A request under way. */
export interface Running {
  reports: AsyncGenerator<Report, void>;
  /** End this sequence as if it had met a stop. What it still sends is ignored. */
  end(sequence: number): void;
}

/** A model that lives in a thread of its own. */
export class Client {
  private readonly channel: Channel;
  private readonly waiting = new Map<number, Inbox>(); // requests that have not ended
  private readonly exited: Promise<Error>;
  private nextId = 1;
  private death: Error | undefined;
  private closing: Promise<void> | undefined;

  /**
   * Start loading.
   * @param onOpened called with the vocabulary size as soon as the header has been read; resolves to the guesses for this
   *   model, if there are any
   * @param onProgress called with how many weights have been read, and of how many
   */
  static async load(
    channel: Channel,
    setup: Setup,
    onOpened: (vocabSize: number) => Promise<GuessEntries | undefined>,
    signal?: AbortSignal,
    onProgress?: (done: number, of: number) => void,
  ): Promise<{ client: Client; info: LoadedInfo }> {
    const client = new Client(channel);
    let stopListening = () => {};
    try {
      const info = await new Promise<LoadedInfo>((resolve, reject) => {
        let opened: Promise<void> | undefined;
        const reportProgress = (done: number, of: number) => {
          try {
            onProgress?.(done, of);
          } catch (error) {
            reject(error);
          }
        };
        channel.onMessage((message) => {
          if (message.type === "opened") {
            opened = onOpened(message.vocabSize).then((guesses) => {
              if (guesses) channel.post({ type: "guesses", ...guesses }, [guesses.entries.buffer as ArrayBuffer]);
            });
            opened.catch(reject);
          } else if (message.type === "progress") reportProgress(message.done, message.of);
          else if (message.type === "loaded") opened?.then(() => resolve(message), reject);
          else if (message.type === "loadFailed") reject(revive(message.error));
        });
        client.exited.then(reject);
        stopListening = onAbort(signal, () => reject(signal?.reason));
        client.send({ type: "load", setup });
      });
      channel.keepAlive(false);
      return { client, info };
    } catch (error) {
      await channel.terminate();
      throw error;
    } finally {
      stopListening();
    }
  }

  private constructor(channel: Channel) {
    this.channel = channel;
    channel.keepAlive(true);
    this.exited = new Promise((resolve) => {
      channel.onExit((why) => {
        this.death ??= why;
        for (const id of this.waiting.keys()) this.end(id, this.death);
        resolve(why);
      });
    });
    channel.onMessage((message) => {
      if (message.type !== "report") return;
      const inbox = this.waiting.get(message.id);
      inbox?.put(message);
      if (message.ended) this.end(message.id);
    });
  }

  /**
   * Start these sequences together, when the result is first iterated. Leaving that loop, or the signal, cancels them.
   */
  request(sequences: readonly SequenceRequest[], signal?: AbortSignal): Running {
    const id = this.nextId++;
    const end = (sequence: number) => {
      if (this.waiting.has(id) && !this.closing) this.send({ type: "end", id, sequence });
    };
    return { reports: this.reports(id, sequences, signal), end };
  }

  private async *reports(
    id: number,
    sequences: readonly SequenceRequest[],
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Report, void> {
    signal?.throwIfAborted();
    if (this.death) throw this.death;
    const inbox = new Inbox();
    this.waiting.set(id, inbox);
    const stopListening = onAbort(signal, () => this.cancel(id, signal?.reason));
    try {
      this.send({ type: "start", id, sequences });
      this.holdOn();
      for (let report = await inbox.take(); report; report = await inbox.take()) {
        yield report;
        if (inbox.hasMore) await turn();
      }
    } finally {
      stopListening();
      this.cancel(id);
    }
  }

  /** End the thread, after the current pass. Requests that are still running throw. May be called twice. */
  close(): Promise<void> {
    this.closing ??= this.endThread();
    return this.closing;
  }

  private async endThread(): Promise<void> {
    this.death ??= new Llama2Error("E_USAGE", "the model was disposed");
    for (const id of [...this.waiting.keys()]) this.end(id, this.death);
    this.send({ type: "close" });
    this.channel.keepAlive(true);
    await this.exited;
  }

  /** Forget a request whose reader has left. */
  private cancel(id: number, reason?: Error): void {
    if (!this.waiting.has(id)) return;
    if (!this.closing) this.send({ type: "cancel", id });
    this.end(id, reason);
  }

  private end(id: number, error?: Error): void {
    this.waiting.get(id)?.end(error);
    this.waiting.delete(id);
    this.holdOn();
  }

  private send(message: ToWorker): void {
    this.channel.post(message);
  }

  /** An idle thread does not keep the process alive; one with requests, or one that is ending, does. */
  private holdOn(): void {
    this.channel.keepAlive(this.waiting.size > 0 || this.closing !== undefined);
  }
}

/** Let the event loop run once, so that one busy reader does not starve the others. */
const turn = (): Promise<void> =>
  new Promise((resolve) => {
    if (typeof setImmediate === "function") setImmediate(resolve);
    else setTimeout(resolve);
  });
