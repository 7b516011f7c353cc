/*
 * The contexts of a model: those that jobs work with, those that sessions keep, and one that waits for the next job.
 */
import type { Context, LoadedModel } from "../backend/backend.ts";
import { availableMemory, sequenceBytes } from "../backend/limits.ts";
import { Llama2Error } from "../errors.ts";
import type { Config } from "../llama2/transformer.ts";
import type { Machine } from "./job.ts";
import type { Request } from "./protocol.ts";

export class Contexts {
  private readonly model: LoadedModel;
  private readonly config: Config;
  private readonly sessions = new Map<number, Context>();
  private idle: Context | undefined; // for one sequence

  constructor(model: LoadedModel, config: Config) {
    this.model = model;
    this.config = config;
  }

  /**
   * What a job works with: its session's context, one of its own for many stories, or one that is idle.
   * @throws Llama2Error E_LIMIT if there is no room for one
   */
  take(request: Request, session: number | undefined): Machine {
    const kept = session === undefined ? undefined : this.sessions.get(session);
    if (kept) return this.machine(kept, 1);
    const machine = this.open(session === undefined ? this.sequencesFor(request) : 1);
    if (session !== undefined) this.sessions.set(session, machine.context);
    return machine;
  }

  /** The job that took it has ended. A session keeps its own. */
  giveBack({ context, sequences }: Machine, session: number | undefined): void {
    if (session === undefined) this.free(context, sequences);
  }

  endSession(session: number): void {
    const context = this.sessions.get(session);
    this.sessions.delete(session);
    if (context) this.free(context, 1);
  }

  dispose(): void {
    this.idle?.dispose();
    for (const context of this.sessions.values()) context.dispose();
  }

  /** A context with room for so many sequences, or for fewer if the backend cannot hold them. */
  private open(sequences: number): Machine {
    if (sequences === 1 && this.idle) {
      const context = this.idle;
      this.idle = undefined;
      return this.machine(context, 1);
    }
    try {
      return this.machine(this.model.openContext(sequences), sequences);
    } catch (error) {
      if (sequences === 1 || !isOutOfMemory(error)) throw error;
      return this.open(Math.floor(sequences / 2));
    }
  }

  private free(context: Context, sequences: number): void {
    if (sequences === 1 && !this.idle) this.idle = context;
    else context.dispose();
  }

  /** How many stories to tell at once: as many as fit into a batch, and into a quarter of the machine's memory. */
  private sequencesFor(request: Request): number {
    if (request.type !== "generate") return 1;
    const fitting = this.model.onDevice ? Infinity : Math.floor(availableMemory() / 4 / sequenceBytes(this.config));
    return Math.max(1, Math.min(request.seeds.length, this.model.maxBatch, fitting));
  }

  private machine(context: Context, sequences: number): Machine {
    return { context, sequences, vocabSize: this.config.vocabSize, maxBatch: this.model.maxBatch };
  }
}

/** A backend says E_LIMIT, a device E_DEVICE_OOM, V8 that an array cannot be had. */
export function isOutOfMemory(error: unknown): boolean {
  if (error instanceof Llama2Error) return error.code === "E_LIMIT" || error.code === "E_DEVICE_OOM";
  return error instanceof RangeError && /allocation failed|array length/.test(error.message);
}
