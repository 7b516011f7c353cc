/*
 * What a model can be asked to do.
 */
import type { Context, Entry } from "../backend/backend.ts";
import { GenerateJob } from "./generateJob.ts";
import type { Job, Machine } from "./job.ts";
import { checkFinite, logSumExp } from "./logits.ts";
import type { Request } from "./protocol.ts";

export function startJob(request: Request, machine: Machine): Job {
  switch (request.type) {
    case "generate":
      return new GenerateJob(request, machine);
    case "logits":
      return new LogitsJob(machine, request.tokens, request.pos, request.batch ? machine.maxBatch : 1);
    case "score":
      return new ScoreJob(machine, request.tokens);
  }
}

/** Read tokens; what comes out is a row of logits after each. */
class LogitsJob implements Job {
  private readonly context: Context;
  private readonly vocabSize: number;
  private readonly tokens: readonly number[];
  private readonly pos: number;
  private readonly batch: number;
  private rows: Float32Array[] = [];

  /** @param batch how many tokens to read in a pass */
  constructor({ context, vocabSize }: Machine, tokens: readonly number[], pos: number, batch: number) {
    this.context = context;
    this.vocabSize = vocabSize;
    this.tokens = tokens;
    this.pos = pos;
    this.batch = batch;
  }

  *run(): Generator<void, void> {
    for (let i = 0; i < this.tokens.length; i += this.batch) {
      const pos = this.pos + i;
      const entries = this.tokens
        .slice(i, i + this.batch)
        .map((token, t): Entry => ({ token, pos: pos + t, sequence: 0 }));
      const logits = this.context.forward(entries, entries.length);
      for (const { pos } of entries) {
        const at = (pos - this.pos - i) * this.vocabSize;
        const row = logits.slice(at, at + this.vocabSize);
        checkFinite(row, pos);
        this.rows.push(row);
      }
      yield;
    }
  }

  take(): Float32Array {
    const all = new Float32Array(this.rows.length * this.vocabSize);
    for (const [i, row] of this.rows.entries()) all.set(row, i * this.vocabSize);
    this.rows = [];
    return all;
  }
}

/** Read tokens; what comes out is the log-probability of each but the first, given those before it. */
class ScoreJob implements Job {
  private readonly logits: LogitsJob;
  private readonly vocabSize: number;
  private readonly tokens: readonly number[];
  private scored = 0;
  private logprobs: number[] = [];

  constructor(machine: Machine, tokens: readonly number[]) {
    // what would come after the last token is not asked for
    this.logits = new LogitsJob(machine, tokens.slice(0, -1), 0, machine.maxBatch);
    this.vocabSize = machine.vocabSize;
    this.tokens = tokens;
  }

  *run(): Generator<void, void> {
    for (const _ of this.logits.run()) {
      const rows = this.logits.take();
      for (let at = 0; at < rows.length; at += this.vocabSize) {
        const row = rows.subarray(at, at + this.vocabSize);
        this.logprobs.push(row[this.tokens[++this.scored]] - logSumExp(row));
      }
      yield;
    }
  }

  take(): Float64Array {
    const logprobs = Float64Array.from(this.logprobs);
    this.logprobs = [];
    return logprobs;
  }
}
