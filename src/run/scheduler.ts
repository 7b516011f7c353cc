/*
 * The scheduler: all sequences of all requests share the passes over the weights, because a pass over many tokens takes
 * little longer than a pass over one.
 *
 *     admit -> batch (at most maxBatch tokens) -> guess -> forward -> sample, verify -> emit
 *
 * Each live sequence has a slot and reads what the slot does not hold yet: its prompt, then each new token. Its tokens do
 * not depend on the other sequences.
 *
 * It is fair: a pass has one token of each live sequence, and the remaining room goes to sequences that read a prompt, the
 * oldest first. So a live sequence waits for at most one pass. If more are live than a pass has room for, they take turns.
 */
import type { Entry, LoadedModel } from "../backend/backend.ts";
import type { Sampler } from "../llama2/sampler.ts";
import { describe } from "./failure.ts";
import { Going } from "./going.ts";
import type { Guesser } from "./guess.ts";
import { checkFinite } from "./logits.ts";
import type { FailureInfo, Report, SequenceRequest } from "./protocol.ts";
import { Request } from "./request.ts";
import { firstRow, isEmpty, Sequence } from "./sequence.ts";
import { Slots } from "./slots.ts";

/** A row of logits that is wanted. */
interface Row {
  sequence: Sequence;
  entry: Entry; // the token that was read
  depth: number; // how many guesses the row depends on: those before this token, and this token
}

export class Scheduler {
  /** Whether something should be reported at once: the first token of a request, or its end. */
  urgent = false;
  private readonly slots: Slots;
  private readonly maxBatch: number;
  private readonly vocabSize: number;
  private readonly guesser: Guesser | undefined;
  private readonly requests = new Map<number, Request>(); // the oldest first
  private live: Sequence[] = [];
  private waiting = 0; // sequences that have not been admitted
  private going: Going | undefined;

  /**
   * @param limit how many sequences may be live at once
   * @param guesser guesses which tokens come next; absent: nothing is guessed
   */
  constructor(model: LoadedModel, vocabSize: number, limit: number, guesser?: Guesser) {
    this.slots = new Slots(model, limit);
    this.maxBatch = model.maxBatch;
    this.vocabSize = vocabSize;
    this.guesser = guesser;
  }

  /** Whether there is anything to do. */
  get busy(): boolean {
    return this.live.length + this.waiting > 0;
  }

  add(id: number, sequences: readonly SequenceRequest[]): void {
    this.requests.set(id, new Request(id, sequences));
    this.waiting += sequences.length;
  }

  /** Cancel a request. Its slots are free at once. */
  cancel(id: number): void {
    const request = this.requests.get(id);
    if (!request) return;
    this.finishGoing();
    this.requests.delete(id);
    this.waiting -= request.sequences.length - request.started;
    this.live = this.live.filter((sequence) => {
      if (sequence.owner === request) this.slots.release(sequence.slot);
      return sequence.owner !== request;
    });
  }

  /** End a sequence early, as if a stop token had come. Its slot is free at once. */
  end(id: number, index: number): void {
    this.finishGoing();
    const sequence = this.live.find((sequence) => sequence.is(id, index));
    sequence?.finish("stop");
    this.retire();
  }

  /** Do one pass. */
  step(): void {
    try {
      if (!this.going) this.admit();
      if (!this.going && this.canGoOn()) this.letGo();
      if (this.going) this.goOn(this.going);
      else if (this.live.length > 0) this.pass(this.nextBatch());
    } catch (error) {
      this.failAll(describe(error));
    }
  }

  /** At most how many requests have something to report: waiting ones have nothing. */
  get reporting(): number {
    return Math.min(this.requests.size, this.live.length);
  }

  /** The reports since the last call. @param urgent only the urgent ones */
  take(urgent = false): Report[] {
    this.urgent = false;
    const reports: Report[] = [];
    for (const request of this.requests.values()) {
      if (urgent && !request.urgent) continue;
      const report = request.report();
      if (report) reports.push(report);
      if (report?.ended) this.requests.delete(request.id);
    }
    return reports;
  }

  dispose(): void {
    this.going?.stop();
    this.slots.dispose();
  }

  /** Give slots to waiting sequences: first to those of the request with the fewest live ones. */
  private admit(): void {
    for (let admitted = true; admitted && this.waiting > 0 && !this.slots.full; ) {
      const candidates = [...this.requests.values()]
        .filter(({ started, sequences, live }) => started < sequences.length && live < this.maxBatch)
        .sort((a, b) => a.live - b.live); // stable: the oldest first
      admitted = candidates.some((request) => this.start(request));
    }
  }

  /** Start the next sequence of a request, if there is a slot for it. */
  private start(request: Request): boolean {
    const next = request.sequences[request.started];
    if (isEmpty(next)) {
      request.skip();
    } else {
      try {
        const tokens = [...next.tokens];
        const slot = this.slots.take(tokens, firstRow(next), Math.min(this.live.length + this.waiting, this.maxBatch));
        if (!slot) return false;
        const sequence = new Sequence(request, request.started, slot, tokens, this.vocabSize);
        request.start(sequence);
        this.live.push(sequence);
      } catch (error) {
        request.skip(describe(error)); // there is no room for it
      }
    }
    this.waiting--;
    if (request.ended) this.urgent = true;
    return true;
  }

  /** The sequences of the next pass; `taking` says how many tokens each reads. */
  private nextBatch(): Sequence[] {
    let room = this.maxBatch;
    let batch = this.live;
    if (batch.length > room) {
      batch = this.live.slice(0, room);
      this.live = [...this.live.slice(room), ...batch];
    }
    for (const sequence of batch) sequence.taking = 1;
    room -= batch.length;
    for (const sequence of batch) {
      if (room === 0) break;
      const more = sequence.oneByOne ? 0 : Math.min(room, sequence.unread - 1);
      sequence.taking += more;
      room -= more;
    }
    return batch;
  }

  /** Guess ahead if all sequences decode: a pass that reads a prompt is wide anyway. Returns whether all decode. */
  private guess(batch: readonly Sequence[]): boolean {
    if (!this.guesser) return false;
    const decoding = batch.every(({ sampler, decodes, unread }) => sampler && decodes && unread === 1);
    if (decoding) this.guesser.guess(batch, this.maxBatch - batch.length);
    for (const sequence of batch) {
      if (decoding) sequence.countGuesses();
      else sequence.guesses.clear();
    }
    return decoding;
  }

  /** Read the tokens that each sequence takes, and choose the next token of those that have read all they have. */
  private pass(batch: readonly Sequence[]): void {
    const begin = performance.now();
    const decoding = this.guess(batch);
    const silent: Entry[] = []; // their logits are not wanted
    const plain: Row[] = []; // tokens are chosen from these by the backend
    const narrowed: Row[] = []; // and from these by `sequence.choose`
    const reported: Row[] = []; // these are the results
    let deepest = 0;
    for (const sequence of batch) {
      const { slot, owner, sampler, choosesHere, guesses } = sequence;
      owner.reading += sequence.taking;
      owner.decodes ||= sequence.decodes;
      for (const end = slot.held + sequence.taking; slot.held < end; slot.held++) {
        const entry = sequence.entryAt(slot.held);
        if (!sequence.wants(entry.pos)) {
          silent.push(entry);
          continue;
        }
        (sampler ? (choosesHere ? narrowed : plain) : reported).push({ sequence, entry, depth: 0 });
        owner.chooses ||= sampler !== undefined;
      }
      if (guesses.used > deepest) deepest = guesses.used;
    }
    for (let depth = 1; depth <= deepest; depth++) {
      for (const sequence of batch) {
        if (sequence.guesses.used < depth) continue;
        (sequence.choosesHere ? narrowed : plain).push({ sequence, entry: sequence.guessAt(depth - 1), depth });
      }
    }
    const rows = narrowed.length + reported.length === 0 ? plain : [...plain, ...narrowed, ...reported];
    const entries = rows.map(({ entry }) => entry);
    const start = performance.now();
    const logits = this.slots.context.forward(silent.length === 0 ? entries : [...silent, ...entries], rows.length);
    this.countPass(batch, start);
    const chosen = plain.length + narrowed.length;
    // before sampling overwrites the logits
    for (const [i, row] of reported.entries()) this.report(row, this.rowOf(logits, chosen + i));
    if (chosen > 0) {
      const start = performance.now();
      this.sample(plain, narrowed, logits);
      this.countSampling(batch, start);
    }
    if (decoding) this.guesser?.passed(rows.length, performance.now() - begin);
    let ended = false;
    for (const sequence of batch) {
      if (this.guesser) sequence.teach(this.guesser);
      sequence.finishReading();
      ended ||= sequence.ended;
    }
    if (ended) this.retire();
  }

  private rowOf(logits: Float32Array, row: number): Float32Array {
    return logits.subarray(row * this.vocabSize, (row + 1) * this.vocabSize);
  }

  private report({ sequence, entry: { pos } }: Row, logits: Float32Array): void {
    try {
      checkFinite(logits, pos);
      if (!sequence.ended) sequence.acceptRow(pos, logits);
    } catch (error) {
      sequence.fail(describe(error));
    }
  }

  /**
   * Choose the next tokens. A sequence with guesses has several rows of logits: the first is for its next token, and each
   * further one counts if the token chosen before it equals the guess. Rows are ordered by depth; a depth that no sequence
   * has reached is skipped.
   * @param plain the first rows, from which the backend chooses
   * @param narrowed and those after them, from which tokens are chosen here
   */
  private sample(plain: readonly Row[], narrowed: readonly Row[], logits: Float32Array): void {
    const wanted = (row: Row) => row.sequence.want !== "tokens";
    const copied = plain.some(wanted) || narrowed.some(wanted);
    // choosing overwrites the logits
    const raw = copied ? logits.slice(0, (plain.length + narrowed.length) * this.vocabSize) : logits;
    for (let first = 0, end = 0; first < plain.length; first = end) {
      while (end < plain.length && plain[end].depth === plain[first].depth) end++;
      const rows = plain.slice(first, end);
      if (!rows.some(isReached)) break;
      const samplers = rows.map((row) => samplerOf(row));
      const states = samplers.map(({ rngState }) => rngState);
      const tokens = this.slots.context.sample(samplers, first);
      for (const [i, row] of rows.entries()) {
        if (isReached(row)) this.accept(row, tokens[i], this.rowOf(raw, first + i), states[i]);
      }
    }
    for (const [i, row] of narrowed.entries()) {
      if (!isReached(row)) continue;
      const logits = this.rowOf(raw, plain.length + i);
      const state = samplerOf(row).rngState;
      this.accept(row, row.sequence.choose(logits), logits, state);
    }
  }

  /**
   * A token has been chosen. If it had been guessed, it has been read as well.
   * @param token -1: the logits are not all finite
   * @param state of the generator before it was chosen
   */
  private accept(row: Row, token: number, logits: Float32Array, state: bigint): void {
    const { sequence } = row;
    if (token < 0) {
      this.report(row, logits); // and so it fails
      return;
    }
    this.guesser?.check(sequence.guesses, token);
    sequence.accept(token, sequence.want === "tokens" ? undefined : logits, state);
    if (!sequence.ended && sequence.guesses.confirms(token)) sequence.confirmGuess();
  }

  private countPass(batch: readonly Sequence[], start: number, end = performance.now()): void {
    for (const { owner } of batch) if (owner.reading > 0) owner.countPass(start, end);
  }

  private countSampling(batch: readonly Sequence[], start: number, end = performance.now()): void {
    for (const { owner } of batch) if (owner.chooses && owner.countSampling(start, end)) this.urgent = true;
  }

  /** Whether the backend can decode all sequences by itself: none reads its prompt or wants logits, and none guesses. */
  private canGoOn(): boolean {
    if (this.live.length === 0 || !this.slots.context.decode || this.live.length > this.maxBatch) return false;
    if (this.guesser?.idle(this.live.length) === 0) return false;
    return this.live.every(
      ({ sampler, choosesHere, want, stuck, decodes, unread }) =>
        sampler && !choosesHere && want === "tokens" && !stuck && decodes && unread === 1,
    );
  }

  /** Start it, for at most as many tokens as every sequence may still get. */
  private letGo(): void {
    const { context } = this.slots;
    const sequences = [...this.live];
    const most = Math.min(this.guesser?.idle(sequences.length) ?? Infinity, ...sequences.map(({ left }) => left));
    if (context.decode) this.going = new Going(sequences, context.decode, most, this.guesser !== undefined);
  }

  /** Let the backend finish its decoding, before anything else is done with the slots. */
  private finishGoing(): void {
    try {
      while (this.going) this.goOn(this.going);
    } catch (error) {
      this.failAll(describe(error));
    }
  }

  /** Take the tokens of the next steps. */
  private goOn(going: Going): void {
    const { sequences } = going;
    const times = going.next();
    if (!times) {
      this.going = undefined;
      this.guesser?.idled(going.draws, sequences.length, going.ms);
      this.retire();
      return;
    }
    if (this.guesser) for (const sequence of sequences) sequence.teach(this.guesser);
    this.countPass(sequences, times.start, times.choosing);
    this.countSampling(sequences, times.choosing, times.end);
  }

  /** Release the slots of sequences that have ended. */
  private retire(): void {
    this.live = this.live.filter((sequence) => {
      if (!sequence.ended) return true;
      if (sequence.failed) this.slots.forget(sequence.slot);
      this.slots.release(sequence.slot);
      sequence.owner.live--;
      if (sequence.owner.ended) this.urgent = true;
      return false;
    });
  }

  /** A pass has failed, and any sequence in it may be the cause. What the slots hold cannot be trusted. */
  private failAll(error: FailureInfo): void {
    this.going = undefined;
    for (const sequence of this.live) sequence.fail(error);
    this.retire();
    this.slots.dispose();
  }
}

/** Whether all guesses before it were right. */
const isReached = ({ sequence, depth }: Row) => sequence.guesses.right >= depth;

/** The sampler for a row. A row that does not count gets a copy: it must not advance the generator. */
function samplerOf(row: Row): Sampler {
  const sampler = row.sequence.sampler as Sampler;
  return isReached(row) ? sampler : { ...sampler };
}
