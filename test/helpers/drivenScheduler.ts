/*
 * A scheduler that a test drives step by step, on models whose pass width the test chooses.
 */
import type { Context, LoadedModel, Running, Steps } from "../../src/backend/backend.ts";
import { Llama2Error } from "../../src/errors.ts";
import type { Guesser } from "../../src/run/guess.ts";
import type { Slice, TokenDetails } from "../../src/run/protocol.ts";
import { Scheduler } from "../../src/run/scheduler.ts";

/** What a sequence has brought so far. */
export interface Brought {
  tokens: number[];
  logprobs: number[];
  details: TokenDetails[];
  rows: number[][]; // slices of logits
  last: Slice | undefined; // once it has ended
}

/** How a model is disguised. */
export interface Disguise {
  maxBatch?: number;
  /** Its contexts cannot copy. */
  copies?: boolean;
  /** Decode up to so many tokens without the host, on a model that takes all its memory at the start, like a GPU. */
  chunk?: number;
  /** How many sequences fit into a context. */
  room?: number;
}

/** Counts what is read, and disguises the model. */
export class Disguised implements LoadedModel {
  readonly threads: number;
  readonly maxBatch: number;
  readonly reserves: boolean;
  /** Entries of each pass. */
  readonly passes: number[] = [];
  /** What each pass throws. */
  fail: Error | undefined;
  private readonly model: LoadedModel;
  private readonly disguise: Disguise;

  constructor(model: LoadedModel, disguise: Disguise) {
    this.model = model;
    this.disguise = disguise;
    this.threads = model.threads;
    this.maxBatch = Math.min(model.maxBatch, disguise.maxBatch ?? Infinity);
    this.reserves = disguise.chunk !== undefined;
  }

  openContext(sequences: number): Context {
    if (sequences > (this.disguise.room ?? Infinity)) throw new Llama2Error("E_LIMIT", "no room");
    const context = this.model.openContext(sequences);
    const { copies = true, chunk } = this.disguise;
    const disguised: Context = {
      forward: (batch, wanted) => {
        if (this.fail) throw this.fail;
        this.passes.push(batch.length);
        return context.forward(batch, wanted);
      },
      sample: (samplers, first) => context.sample(samplers, first),
      dispose: () => context.dispose(),
    };
    if (copies && context.copy) disguised.copy = (from, to, positions) => context.copy?.(from, to, positions);
    if (chunk !== undefined) disguised.decode = (running, most) => goOn(disguised, running, Math.min(chunk, most));
    return disguised;
  }

  dispose(): void {
    this.model.dispose();
  }
}

/** As a device does: all steps are computed ahead of what is taken, and the generators' states come at the end. */
function* goOn(context: Context, running: readonly Running[], steps: number): Generator<Steps, void, void> {
  const state = running.map(({ token, pos, sampler }) => ({ token, pos, sampler: { ...sampler }, over: false }));
  const chosen: Steps[] = [];
  for (let step = 0; step < steps; step++) {
    const tokens = running.map(({ sequence, stop }, i) => {
      const mine = state[i];
      if (mine.over) return -1;
      context.forward([{ token: mine.token, pos: mine.pos++, sequence }], 1);
      [mine.token] = context.sample([mine.sampler]);
      mine.over = mine.token === stop || mine.token < 0;
      return mine.token;
    });
    chosen.push({ tokens: Int32Array.from(tokens), sampleMs: 0 });
  }
  try {
    yield* chosen;
  } finally {
    for (const [i, { sampler }] of running.entries()) sampler.rngState = state[i].sampler.rngState;
  }
}

export class DrivenScheduler {
  readonly scheduler: Scheduler;
  private readonly brought = new Map<string, Brought>();
  private readonly cancelled = new Set<number>();

  constructor(model: LoadedModel, vocabSize: number, slots: number, guesser?: Guesser) {
    this.scheduler = new Scheduler(model, vocabSize, slots, guesser);
  }

  step(): void {
    this.scheduler.step();
  }

  cancel(id: number): void {
    this.collect();
    this.scheduler.cancel(id);
    this.cancelled.add(id);
  }

  runToEnd(): void {
    for (let steps = 0; this.scheduler.busy; steps++) {
      if (steps > 100_000) throw new Error("it does not come to an end");
      this.scheduler.step();
    }
    this.collect();
  }

  of(id: number, sequence = 0): Brought {
    this.collect();
    return this.slot(id, sequence);
  }

  private slot(id: number, sequence: number): Brought {
    const key = `${id} ${sequence}`;
    const found = this.brought.get(key) ?? { tokens: [], logprobs: [], details: [], rows: [], last: undefined };
    this.brought.set(key, found);
    return found;
  }

  private collect(): void {
    for (const { id, slices } of this.scheduler.take()) {
      if (this.cancelled.has(id)) throw new Error(`request ${id} was cancelled, and something came for it`);
      for (const slice of slices) {
        const brought = this.slot(id, slice.sequence);
        if (brought.last) throw new Error(`sequence ${slice.sequence} of request ${id} had ended`);
        brought.tokens.push(...slice.tokens);
        brought.logprobs.push(...(slice.logprobs ?? []));
        brought.details.push(...(slice.details ?? []));
        if (slice.logits) brought.rows.push(Array.from(slice.logits));
        if (slice.ended) brought.last = slice;
      }
    }
  }
}
