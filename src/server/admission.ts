/*
 * Admission control: a limit on sequences that run at once, a queue of limited length, and a refusal beyond that.
 */
import { HttpError } from "./errors.ts";

interface Waiting {
  sequences: number;
  admit: () => void;
}

/** The slots of a server, and the queue for them. */
export class Admission {
  /** Requests that are running, and that are waiting. */
  running = 0;
  private inUse = 0; // sequences of the running requests
  private readonly queue: Waiting[] = [];
  private readonly slots: number;
  private readonly limit: number;

  /**
   * @param slots how many sequences run at once
   * @param limit how many requests may wait
   */
  constructor(slots: number, limit: number) {
    this.slots = slots;
    this.limit = limit;
  }

  get waiting(): number {
    return this.queue.length;
  }

  /**
   * Wait for a place. Requests are admitted in order; one for more sequences than there are slots runs alone.
   * @returns a function that gives the place back
   * @throws HttpError 503 if the queue is full; the signal's reason if it is aborted meanwhile
   */
  async enter(sequences: number, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const taken = Math.min(sequences, this.slots);
    if (this.queue.length > 0 || this.inUse + taken > this.slots) await this.wait(taken, signal);
    else this.take(taken);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.running--;
      this.inUse -= taken;
      this.admitNext();
    };
  }

  private async wait(sequences: number, signal: AbortSignal): Promise<void> {
    if (this.queue.length >= this.limit) {
      const message = `${this.running} requests run and ${this.queue.length} wait: try again later`;
      throw new HttpError(503, message, { code: "queue_full", headers: { "Retry-After": "1" } });
    }
    await new Promise<void>((resolve, reject) => {
      const waiting: Waiting = { sequences, admit: resolve };
      const leave = () => {
        const at = this.queue.indexOf(waiting);
        if (at === -1) return; // it was admitted in the meantime
        this.queue.splice(at, 1);
        this.admitNext();
        reject(signal.reason);
      };
      this.queue.push(waiting);
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  private admitNext(): void {
    while (this.queue.length > 0 && this.inUse + this.queue[0].sequences <= this.slots) {
      const next = this.queue.shift() as Waiting;
      this.take(next.sequences);
      next.admit();
    }
  }

  private take(sequences: number): void {
    this.running++;
    this.inUse += sequences;
  }
}
