/*
 * A live sequence: its tokens, its results, and how it ends.
 */
import type { Entry, Running } from "../backend/backend.ts";
import { buildSampler, randomU32, type Sampler } from "../llama2/sampler.ts";
import { type Guesser, Guesses } from "./guess.ts";
import { logSumExp } from "./logits.ts";
import type { FailureInfo, GuessCounts, Sampling, SequenceRequest, Slice } from "./protocol.ts";
import type { Request } from "./request.ts";
import { asksForMore, choose, type Draw, detailsOf } from "./sampling.ts";
import type { Slot } from "./slots.ts";

/** A sequence that has a slot. It reads the tokens that the slot does not hold yet. */
export class Sequence {
  readonly owner: Request;
  readonly slot: Slot;
  readonly tokens: number[]; // the prompt, then new ones
  readonly sampler: Sampler | undefined;
  /** Its tokens are sampled here: it asks for more than a backend's sampler can do. */
  readonly choosesHere: boolean;
  readonly oneByOne: boolean;
  readonly want: SequenceRequest["want"];
  /** How many of its tokens the current pass reads, besides guesses. */
  taking = 0;
  /** The tokens that may come next. */
  readonly guesses = new Guesses();
  /** The device produced no token (non-finite logits): the next pass here reports why. */
  stuck = false;
  ended = false;
  private readonly index: number; // in its request
  private readonly sampling: Sampling | undefined;
  private readonly top: number | undefined;
  private readonly goal: number; // how many tokens of the prompt are read
  private readonly promptLength: number;
  private readonly end: number; // how many tokens it may have
  readonly stops: readonly number[];
  private nextRow: number; // the first position whose logits have not been reported yet
  private taught: number; // how many of its tokens the guesser has learned
  private readonly entry: Entry; // reused, for passes that read one token
  private slice: Slice;
  private rows: Float32Array[] = []; // of the slice
  private ahead: GuessCounts | undefined; // once guesses have been asked for

  /** @param index of the sequence in its request */
  constructor(owner: Request, index: number, slot: Slot, tokens: number[], vocabSize: number) {
    const request = owner.sequences[index];
    const { maxTokens, stops, sampling, want, top, oneByOne = false } = request;
    this.owner = owner;
    this.index = index;
    this.slot = slot;
    this.tokens = tokens;
    this.sampler = sampling && buildSampler(vocabSize, sampling.temperature, sampling.topP, sampling.state);
    this.sampling = sampling;
    this.choosesHere = sampling !== undefined && asksForMore(sampling);
    this.top = want === "logprobs" ? top : undefined;
    this.oneByOne = oneByOne;
    this.want = want;
    this.goal = positionsOf(request);
    this.promptLength = tokens.length;
    this.end = tokens.length + maxTokens;
    this.stops = stops;
    this.nextRow = firstRow(request);
    this.taught = slot.held;
    this.entry = { token: 0, pos: 0, sequence: slot.index };
    this.slice = { sequence: index, tokens: [] };
  }

  /** How many tokens are known but not read yet. */
  get unread(): number {
    return this.goal + this.tokens.length - this.promptLength - this.slot.held;
  }

  /** How many more tokens it may generate. */
  get left(): number {
    return this.end - this.tokens.length;
  }

  /** Whether it has read its prompt. */
  get decodes(): boolean {
    return this.slot.held >= this.promptLength;
  }

  get failed(): boolean {
    return this.slice.ended === "failed";
  }

  /** For a backend that decodes several steps by itself. Of several stop tokens, the backend knows one. */
  running(): Running {
    const pos = this.slot.held;
    const sampler = this.sampler as Sampler;
    return { token: this.tokens[pos], pos, sequence: this.slot.index, sampler, stop: this.stops[0] ?? -1 };
  }

  /** Whether it is this sequence of this request. */
  is(id: number, index: number): boolean {
    return this.owner.id === id && this.index === index;
  }

  /** The next token, from logits that stay as they are; -1 if they are not all finite. */
  choose(logits: Float32Array): number {
    if (!logits.every(Number.isFinite)) return -1;
    return choose(this.sampler as Sampler, this.sampling as Sampling, this.tokens, logits);
  }

  /** Whether the logits after the token at `pos` are wanted. */
  wants(pos: number): boolean {
    return pos >= this.nextRow;
  }

  /** Guess number `depth`, as an entry of the current pass. */
  guessAt(depth: number): Entry {
    return { token: this.guesses.tokens[depth], pos: this.slot.held + depth, sequence: this.slot.index };
  }

  /** The token at `pos`, as an entry of the current pass. */
  entryAt(pos: number): Entry {
    const entry = this.taking === 1 ? this.entry : { token: 0, pos: 0, sequence: this.slot.index };
    entry.token = this.tokens[pos];
    entry.pos = pos;
    return entry;
  }

  /**
   * The sampler has chosen the next token: the sequence continues with it, or ends.
   * @param logits that it was chosen from, unless only tokens are wanted
   * @param state of the generator before it was chosen
   */
  accept(token: number, logits?: Float32Array, state = 0n): void {
    if (this.stops.includes(token)) {
      this.finish("stop");
      return;
    }
    if (logits) this.report(token, logits, this.drawFrom(state));
    else this.nextRow++;
    this.tokens.push(token);
    this.slice.tokens.push(token);
    if (this.tokens.length === this.end) this.finish("length");
  }

  /** Take the logits after a token that was read. `logits` may be overwritten later. */
  acceptRow(pos: number, logits: Float32Array): void {
    this.report(this.tokens[pos + 1], logits);
  }

  /** Count the current pass, which reads its newest token and the guesses in use. */
  countGuesses(): void {
    this.ahead ??= { passes: 0, guessed: 0, accepted: 0 };
    this.ahead.passes++;
    this.ahead.guessed += this.guesses.used;
  }

  /** Its newest token was guessed, so the pass has read it already. */
  confirmGuess(): void {
    this.guesses.right++;
    this.slot.held++;
    this.owner.countGuess();
    if (this.ahead) this.ahead.accepted++;
    this.slice.guessed ??= [];
    this.slice.guessed.push(this.slice.tokens.length - 1);
  }

  /** Let the guesser learn what it has read and written since the last time. */
  teach(guesser: Guesser): void {
    guesser.learn(this.tokens, this.taught);
    this.taught = this.tokens.length;
  }

  /** End it if it is only read, and has been read. */
  finishReading(): void {
    if (!this.sampler && !this.ended && this.unread === 0) this.finish("length");
  }

  finish(how: "stop" | "length"): void {
    this.ended = true;
    this.slice.ended = how;
    if (this.sampler) this.slice.state = this.sampler.rngState;
  }

  /** It has ended: its generator is `draws` draws after `state`, whatever its sampler says. */
  setState(state: bigint, draws: number): void {
    if (this.sampler) this.slice.state = advance(this.sampler, state, draws);
  }

  fail(error: FailureInfo): void {
    if (this.ended) return;
    this.ended = true;
    this.slice.ended = "failed";
    this.slice.error = error;
  }

  /** The results since the last call, if there are any. */
  takeSlice(): Slice | undefined {
    const { slice, rows } = this;
    if (slice.tokens.length === 0 && !slice.logprobs && rows.length === 0 && !slice.ended) return undefined;
    if (rows.length > 0) slice.logits = joined(rows);
    if (this.ahead) slice.ahead = { ...this.ahead };
    this.slice = { sequence: slice.sequence, tokens: [] };
    this.rows = [];
    return slice;
  }

  /** How the next token is chosen, if that is to be reported. */
  private drawFrom(state: bigint): Draw | undefined {
    const { sampler, sampling, tokens } = this;
    if (this.top === undefined || !sampler || !sampling) return undefined;
    return { sampler: { ...sampler, rngState: state }, sampling, tokens };
  }

  private report(token: number, logits: Float32Array, draw?: Draw): void {
    this.nextRow++;
    if (this.want === "logits") this.rows.push(logits.slice());
    if (this.want !== "logprobs") return;
    this.slice.logprobs ??= [];
    this.slice.logprobs.push(logits[token] - logSumExp(logits));
    if (this.top === undefined) return;
    this.slice.details ??= [];
    this.slice.details.push(detailsOf(logits, token, this.top, draw));
  }
}

/** How many positions of the prompt are read. The logits after the last token that is scored are not needed. */
export function positionsOf({ tokens, sampling, want }: SequenceRequest): number {
  return sampling || want === "logits" ? tokens.length : tokens.length - 1;
}

/** The first position whose logits are wanted. Positions before it need not be read again if a slot holds them. */
export function firstRow({ tokens, sampling, skip = 0 }: SequenceRequest): number {
  return sampling ? tokens.length - 1 : skip;
}

/** Whether there is anything to read. */
export function isEmpty(request: SequenceRequest): boolean {
  return request.sampling ? request.maxTokens === 0 : positionsOf(request) <= firstRow(request);
}

/** The generator's state after this many draws. */
export function advance(sampler: Sampler, state: bigint, draws: number): bigint {
  if (sampler.temperature === 0) return state;
  const copy = { ...sampler, rngState: state };
  for (let i = 0; i < draws; i++) randomU32(copy);
  return copy.rngState;
}

function joined(rows: readonly Float32Array[]): Float32Array {
  if (rows.length === 1) return rows[0];
  const all = new Float32Array(rows.reduce((sum, row) => sum + row.length, 0));
  let at = 0;
  for (const row of rows) {
    all.set(row, at);
    at += row.length;
  }
  return all;
}
