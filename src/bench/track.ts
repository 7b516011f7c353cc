/*
 * Measures one row: a test of an engine, run again and again.
 */
import { createHash } from "node:crypto";
import { BOS } from "../llama2/tokenizer.ts";
import type { Receipt } from "../receipt.ts";
import type { Work } from "./engine.ts";
import type { RowOutput } from "./judge.ts";
import type { Planned, Test } from "./plan.ts";
import type { EngineProcess } from "./process.ts";
import { type Row, spreadOf } from "./result.ts";
import { MOST_SWEPT, type Sweep } from "./sweep.ts";

/** Tokens of the shortest run: with fewer, the speed means nothing. */
const LEAST = 8;

/** What a track needs of its engine's process. */
type Runner = Pick<EngineProcess, "info" | "run">;

/** Runs one test again and again, and makes its row. */
export class Track {
  readonly planned: Planned;
  readonly test: Test;
  readonly name: string;
  readonly process: Runner;
  private readonly start: readonly number[];
  private work: Work;
  private reference: RowOutput["reference"] | undefined;
  private readonly samples: RowOutput["samples"][number][] = [];
  private readonly ahead: RowOutput["samples"][number][] = []; // with guessing ahead

  /** @param start the tokens that each sequence begins with */
  constructor(planned: Planned, test: Test, process: Runner, start: readonly number[]) {
    const { backend, precision } = planned.spec;
    const { threads } = process.info;
    this.planned = planned;
    this.test = test;
    this.process = process;
    this.start = start;
    this.name = `${backend} ${precision}, ${threads} ${threads === 1 ? "thread" : "threads"}`;
    this.work = this.workOf(test.tokens);
  }

  /** Equal for all rows of the same work. A generation may be shortened; a shorter prompt is different work. */
  get key(): string {
    const { planned, test, work } = this;
    const length = test.kind === "pp" ? work.prompts[0].length : test.tokens;
    return [planned.subject.name, planned.spec.precision, test.kind, length, test.batch].join("\t");
  }

  get what(): string {
    const { kind, tokens, batch } = this.test;
    return `${this.planned.subject.name} ${this.name} ${kind}${tokens}${batch > 1 ? ` x ${batch}` : ""}`;
  }

  /**
   * Warm up, and find out how long it takes; then run once with the logits hashed.
   * @param shareMs how long a run may take, in milliseconds; it is shortened to fit
   * @returns why it is skipped; undefined if it is not
   */
  async prepare(shareMs: number): Promise<string | undefined> {
    const { tokens, batch } = this.test;
    const few = Math.min(LEAST, tokens);
    await this.process.run(this.workOf(few));
    const { tokensPerSecond } = await this.process.run(this.workOf(few));
    const allowed = Math.floor((shareMs / 1000) * (tokensPerSecond / batch));
    if (allowed < few) {
      const seconds = (few * batch) / tokensPerSecond;
      return `${few} tokens take ${seconds.toFixed(1)} s, and its share of the time is ${(shareMs / 1000).toFixed(1)} s`;
    }
    this.work = this.workOf(Math.min(tokens, allowed));
    this.reference = await this.process.run({ ...this.work, hash: this.process.info.exact });
    return undefined;
  }

  async run(): Promise<void> {
    this.samples.push(await this.process.run(this.work));
    if (this.guesses) this.ahead.push(await this.process.run({ ...this.work, lookahead: true }));
  }

  /** How many runs it does in each turn. */
  get weight(): number {
    return this.guesses ? 2 : 1;
  }

  /** Whether to measure guessing ahead. Not with random weights: they repeat themselves, so guesses are right too often. */
  private get guesses(): boolean {
    const { kind, batch } = this.test;
    return kind === "tg" && batch === 1 && this.process.info.exact && "path" in this.planned.subject.model;
  }

  /** The sweep that its speed is compared with: as many bytes as a pass reads of weights, with as many threads. */
  get sweep(): Sweep | undefined {
    if (this.test.kind === "pp") return undefined;
    const { bytes, threads } = this.process.info;
    const { backend, device } = this.planned.spec;
    const swept = { bytes: Math.min(MOST_SWEPT, Math.round(bytes.weights)), threads };
    return backend === "cuda" ? { device: "cuda", index: device, ...swept } : { device: "cpu", ...swept };
  }

  get hasRuns(): boolean {
    return this.reference !== undefined && this.samples.length > 0;
  }

  output(): RowOutput {
    if (!this.reference) throw new Error("it has not been prepared");
    const { name, process, reference, samples, ahead } = this;
    const all = [...samples, ...ahead]; // guessing ahead changes no token
    return { name, exact: process.info.exact, reference, samples: all, promptTokens: this.work.prompts[0].length };
  }

  /** The tokens of the first sequence. */
  get tokens(): readonly number[] {
    return this.reference?.tokens ?? [];
  }

  /**
   * What anyone needs to repeat the work of the first sequence; absent on backends that are not exact.
   * @param model the hash of its file
   */
  receipt(model: string): Receipt | undefined {
    if (!this.process.info.exact) return undefined;
    const { work, planned } = this;
    const { tokens, rows, logitsSha256 } = this.output().reference;
    // for a longer prompt, only its last token's row is known, but a receipt needs all rows
    const logits = work.prompts[0].length === 1 ? { logitsSha256, logitsRows: rows } : {};
    return {
      receipt: 1,
      model,
      precision: planned.spec.precision,
      context: planned.subject.config.seqLen,
      promptTokens: [...work.prompts[0]],
      seed: "1",
      temperature: 0,
      topP: 0.9,
      maxTokens: work.newTokens,
      stops: [],
      tokens,
      tokensSha256: hashOf(tokens),
      ...logits,
    };
  }

  /**
   * @param why it does not count
   * @param sweptGb GB/s of its sweep, if that has been measured
   */
  row(why: string | undefined, sweptGb: number | undefined): Row {
    const { planned, test, process, samples, work } = this;
    const { loadMs, threads, bytes } = process.info;
    const { tokens, logitsSha256 } = this.output().reference;
    const median = (of: (sample: RowOutput["reference"]) => number | undefined) => {
      const values = samples.map(of).filter((value) => value !== undefined);
      return values.length > 0 ? spreadOf(values).median : undefined;
    };
    const tokensPerSecond = spreadOf(samples.map((sample) => sample.tokensPerSecond));
    const promptTokens = work.prompts[0].length;
    const isStory = test.kind === "tg";
    const positions = promptTokens + work.newTokens / 2;
    const bytesPerToken = isStory ? bytes.weights / test.batch + bytes.perPosition * positions : undefined;
    const gbPerSecond = bytesPerToken && (bytesPerToken * tokensPerSecond.median) / 1e9;
    return {
      model: planned.subject.name,
      backend: planned.spec.backend,
      precision: planned.spec.precision,
      threads,
      batch: test.batch,
      test: `${test.kind}${isStory ? work.newTokens : promptTokens}`,
      promptTokens,
      newTokens: work.newTokens,
      tokensPerSecond,
      achieved: isStory && test.batch === 1 ? tokensPerSecond.median : undefined,
      loadMs,
      firstTokenMs: isStory ? undefined : median((sample) => sample.firstTokenMs),
      first32: median((sample) => sample.first32),
      last32: median((sample) => sample.last32),
      bytesPerToken: bytesPerToken && Math.round(bytesPerToken),
      gbPerSecond,
      percentOfBandwidth: gbPerSecond && sweptGb && (100 * gbPerSecond) / sweptGb,
      peakBytes: Math.max(...samples.map(({ peakBytes }) => peakBytes)),
      tokensSha256: createHash("sha256")
        .update(Buffer.from(Int32Array.from(tokens).buffer))
        .digest("hex"),
      logitsSha256,
      counts: why === undefined,
      why,
      lookahead: aheadOf(this.ahead, tokensPerSecond.median),
    };
  }

  private workOf(tokens: number): Work {
    const { kind, batch } = this.test;
    const { vocabSize } = this.planned.subject.config;
    if (kind === "pp") {
      const prompt = Array.from({ length: tokens }, (_, p) => (p === 0 ? BOS : (p * 7919 + 1) % vocabSize));
      return { kind, prompts: [prompt], newTokens: 1 };
    }
    // the first sequence is the same for any batch, and no two sequences begin alike
    const others = Array.from({ length: batch - 1 }, (_, k) => [...this.start, ((k + 1) * 7919) % vocabSize]);
    const { seqLen } = this.planned.subject.config;
    const room = seqLen + 1 - this.start.length - (batch > 1 ? 1 : 0);
    return { kind, prompts: [this.start, ...others], newTokens: Math.max(1, Math.min(tokens, room)) };
  }
}

/** What guessing ahead gained over the speed without it. */
function aheadOf(samples: RowOutput["samples"], off: number): Row["lookahead"] {
  const sum = (of: "passes" | "guessed" | "accepted") =>
    samples.reduce((all, { ahead }) => all + (ahead?.[of] ?? 0), 0);
  const [passes, guessed, accepted] = [sum("passes"), sum("guessed"), sum("accepted")];
  if (passes === 0) return undefined;
  return {
    hitRate: guessed === 0 ? 0 : accepted / guessed,
    tokensPerPass: (passes + accepted) / passes,
    tokensPerSecond: { off, on: spreadOf(samples.map(({ tokensPerSecond }) => tokensPerSecond)).median },
  };
}

/** The sha256 of tokens as little-endian int32. */
const hashOf = (tokens: readonly number[]): string =>
  createHash("sha256")
    .update(Buffer.from(Int32Array.from(tokens).buffer))
    .digest("hex");
