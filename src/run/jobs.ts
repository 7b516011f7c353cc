/*
 * What a model can be asked to do, as work that can pause: each job yields after every token.
 */
import type { Context, Entry } from "../backend/backend.js";
import { generate, type Machine } from "../llama2/generate.js";
import { buildSampler } from "../llama2/sampler.js";
import { checkFinite, logSumExp } from "./logits.js";
import type { GenerateRequest, Output, Request, Slice, Timings } from "./protocol.js";

/** Work in progress. */
export interface Job {
  /** Do it, and yield wherever it may pause. */
  run(): Generator<void, void>;
  /** Take what has come out since the last call. */
  take(): Output;
  /** Where the time of a generation went; final once `run` has ended, in whatever way. */
  readonly timings?: Omit<Timings, "loadMs">;
}

export function startJob(request: Request, context: Context, vocabSize: number): Job {
  switch (request.type) {
    case "generate":
      return new GenerateJob(request, context, vocabSize);
    case "logits":
      return new LogitsJob(context, vocabSize, request.tokens, request.pos, request.batch);
    case "score":
      return new ScoreJob(context, vocabSize, request.tokens);
  }
}

/** Consecutive tokens of the one sequence of a context. */
function entries(tokens: readonly number[], pos: number): Entry[] {
  return tokens.map((token, i) => ({ token, pos: pos + i, sequence: 0 }));
}

class GenerateJob implements Job {
  readonly timings = { firstTokenMs: 0, prefillMs: 0, decodeMs: 0, sampleMs: 0, tokensPerSecond: 0 };
  private readonly request: GenerateRequest;
  private readonly context: Context;
  private readonly vocabSize: number;
  private readonly begin = performance.now();
  private slice: Slice = { tokens: [], logprobs: [] };
  // run.c's clock starts when the first forward call returns
  private clockStart = 0;
  private firstPositions = 0;
  private positions = 0;

  constructor(request: GenerateRequest, context: Context, vocabSize: number) {
    this.request = request;
    this.context = context;
    this.vocabSize = vocabSize;
  }

  *run(): Generator<void, void> {
    const { tokens, pos, steps, stop, sampling } = this.request;
    const sampler = buildSampler(this.vocabSize, sampling.temperature, sampling.topP, sampling.seed);
    const promptEnd = pos + tokens.length;
    let logits: Float32Array = new Float32Array();
    let logprob = NaN;

    const machine: Machine = {
      maxBatch: this.context.maxBatch,
      forward: (batch, pos, classify) => {
        const start = performance.now();
        logits = this.context.forward(entries(batch, pos), classify ? "last" : "none");
        const end = performance.now();
        this.timings[pos < promptEnd ? "prefillMs" : "decodeMs"] += end - start;
        this.positions += batch.length;
        if (this.clockStart === 0) {
          this.clockStart = end;
          this.firstPositions = batch.length;
        }
      },
      sample: () => {
        const start = performance.now();
        checkFinite(logits, pos + this.positions - 1);
        const raw = this.request.logprobs ? logits.slice() : undefined;
        const token = this.context.sample(sampler, 0);
        if (raw) logprob = raw[token] - logSumExp(raw);
        const end = performance.now();
        this.timings.sampleMs += end - start;
        if (this.timings.firstTokenMs === 0) this.timings.firstTokenMs = end - this.begin;
        return token;
      },
    };

    try {
      for (const token of generate(machine, tokens, steps, { pos, stop })) {
        this.slice.tokens.push(token);
        if (this.request.logprobs) this.slice.logprobs.push(logprob);
        yield;
      }
    } finally {
      const elapsed = performance.now() - this.clockStart;
      const counted = this.positions - this.firstPositions;
      if (counted > 0 && elapsed > 0) this.timings.tokensPerSecond = (counted / elapsed) * 1000;
    }
  }

  take(): Slice {
    const slice = this.slice;
    this.slice = { tokens: [], logprobs: [] };
    return slice;
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

  constructor(context: Context, vocabSize: number, tokens: readonly number[], pos: number, batch: boolean) {
    this.context = context;
    this.vocabSize = vocabSize;
    this.tokens = tokens;
    this.pos = pos;
    this.batch = batch ? context.maxBatch : 1;
  }

  *run(): Generator<void, void> {
    for (let i = 0; i < this.tokens.length; i += this.batch) {
      const tokens = this.tokens.slice(i, i + this.batch);
      const logits = this.context.forward(entries(tokens, this.pos + i), "all");
      for (let t = 0; t < tokens.length; t++) {
        const row = logits.slice(t * this.vocabSize, (t + 1) * this.vocabSize);
        checkFinite(row, this.pos + i + t);
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

  constructor(context: Context, vocabSize: number, tokens: readonly number[]) {
    // what would come after the last token is not asked for
    this.logits = new LogitsJob(context, vocabSize, tokens.slice(0, -1), 0, true);
    this.vocabSize = vocabSize;
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
