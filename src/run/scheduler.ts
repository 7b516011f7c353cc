/*
 * The scheduler: all sequences of all requests share the passes over the weights, because a pass takes hardly longer
 * for many tokens than for one.
 *
 *     admit -> batch (at most maxBatch tokens) -> guess -> forward -> sample, verify -> emit
 *
 * Each live sequence has a slot and reads what the slot does not hold yet: its prompt, then each token it is given. Its
 * tokens do not depend on who else is there.
 *
 * Fair: a pass has one token of each live sequence, and what room is left goes to those that read a prompt, the oldest
 * first. So a live sequence waits for at most one pass; if more are live than a pass has room for, they take turns.
 */
import type { Entry, LoadedModel } from "../backend/backend.ts";
import type { Sampler } from "../llama2/sampler.ts";
import { describe } from "./failure.ts";
import type { Guesser } from "./guess.ts";
import { checkFinite } from "./logits.ts";
import type { FailureInfo, Report, SequenceRequest } from "./protocol.ts";
import { Request } from "./request.ts";
import { advance, firstRow, isEmpty, Sequence } from "./sequence.ts";
import { Slots } from "./slots.ts";

/** Sequences that the backend decodes by itself, with the states of their generators when it began. */
interface Going {
  steps: Generator<Int32Array, void, void>;
  sequences: readonly Sequence[];
  states: readonly bigint[];
  draws: number; // so far
}

export class Scheduler {
  /** There is something to report at once: the first token of a request, or its end. */
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
   * @param guesser guesses what comes next; absent: nobody does. A backend that decodes by itself is not interrupted
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

  /** This sequence has all it needs. It is told as one that a stop has ended, and its slot is free at once. */
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

  /** How many requests there are. */
  get requested(): number {
    return this.requests.size;
  }

  /** The reports since the last call. @param urgent only those that somebody waits for */
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
    this.going?.steps.return();
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

  /** Guess ahead where everybody decodes: a pass that reads a prompt is wide as it is. Returns whether everybody does. */
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

  /** Read what each sequence of the batch takes, and choose the next token of those that have read all they have. */
  private pass(batch: readonly Sequence[]): void {
    const begin = performance.now();
    const decoding = this.guess(batch);
    const silent: Entry[] = []; // nobody wants their logits
    const last: Entry[] = []; // the next token is chosen from their logits, by the backend
    const narrowed: Entry[] = []; // the same, but here
    const told: Entry[] = []; // their logits are wanted as they are
    const choosing: Sequence[] = [];
    const narrowing: Sequence[] = [];
    const telling: Sequence[] = [];
    for (const sequence of batch) {
      const { slot, owner, sampler } = sequence;
      owner.reading += sequence.taking;
      owner.decodes ||= sequence.decodes;
      for (const end = slot.held + sequence.taking; slot.held < end; slot.held++) {
        const entry = sequence.entryAt(slot.held);
        if (!sequence.wants(entry.pos)) {
          silent.push(entry);
        } else if (sampler) {
          (sequence.choosesHere ? narrowed : last).push(entry);
          (sequence.choosesHere ? narrowing : choosing).push(sequence);
          owner.chooses = true;
        } else {
          told.push(entry);
          telling.push(sequence);
        }
      }
      for (let depth = 0; depth < sequence.guesses.used; depth++) {
        (sequence.choosesHere ? narrowed : last).push(sequence.guessAt(depth));
        (sequence.choosesHere ? narrowing : choosing).push(sequence);
      }
    }
    const others = silent.length + narrowed.length + told.length;
    const entries = others === 0 ? last : [...silent, ...last, ...narrowed, ...told];
    const start = performance.now();
    const chosen = last.length + narrowed.length;
    const logits = this.slots.context.forward(entries, chosen + told.length);
    this.countPass(batch, start);
    // before the logits are used up by sampling
    for (const [i, { pos }] of told.entries()) this.tell(telling[i], pos, this.row(logits, chosen + i));
    const positions = narrowed.length === 0 ? last : [...last, ...narrowed];
    if (chosen > 0) this.sample(choosing, narrowing, positions, logits);
    if (decoding) this.guesser?.passed(entries.length, performance.now() - begin);
    let ended = false;
    for (const sequence of batch) {
      if (this.guesser) sequence.teach(this.guesser);
      sequence.finishReading();
      ended ||= sequence.ended;
    }
    if (ended) this.retire();
  }

  private row(logits: Float32Array, row: number): Float32Array {
    return logits.subarray(row * this.vocabSize, (row + 1) * this.vocabSize);
  }

  private tell(sequence: Sequence, pos: number, logits: Float32Array): void {
    try {
      checkFinite(logits, pos);
      if (!sequence.ended) sequence.acceptRow(pos, logits);
    } catch (error) {
      sequence.fail(describe(error));
    }
  }

  /**
   * Choose the next tokens, one from each row of logits. A sequence that guessed has several rows: the first is for its
   * next token, the others count as long as what was sampled before them is what was guessed.
   * @param plain whose rows the first are, chosen from by the backend
   * @param narrowing and those after them, chosen from here
   */
  private sample(
    plain: readonly Sequence[],
    narrowing: readonly Sequence[],
    entries: readonly Entry[],
    logits: Float32Array,
  ): void {
    const start = performance.now();
    const choosing = narrowing.length === 0 ? plain : [...plain, ...narrowing];
    const tokenOnly = choosing.every(({ want }) => want === "tokens");
    const raw = tokenOnly ? logits : logits.slice(0, choosing.length * this.vocabSize); // sampling uses the logits up
    const samplers: Sampler[] = [];
    for (const [row, { sampler }] of plain.entries()) {
      const isFirst = plain[row] !== plain[row - 1];
      samplers.push(isFirst ? (sampler as Sampler) : oneDrawLater(samplers[row - 1]));
    }
    const states = tokenOnly ? undefined : samplers.map(({ rngState }) => rngState);
    const tokens = plain.length > 0 ? this.slots.context.sample(samplers) : [];
    for (let row = 0, depth = 0; row < choosing.length; row++) {
      const sequence = choosing[row];
      depth = sequence === choosing[row - 1] ? depth + 1 : 0;
      if (sequence.guesses.right < depth) continue; // what it follows was not sampled
      const sampler = sequence.sampler as Sampler;
      const state = row < plain.length ? states?.[row] : sampler.rngState;
      const token = row < plain.length ? tokens[row] : sequence.choose(this.row(raw, row));
      if (depth > 0 && row < plain.length) sampler.rngState = samplers[row].rngState;
      if (token < 0)
        this.tell(sequence, entries[row].pos, this.row(raw, row)); // and so it fails
      else this.accept(sequence, token, sequence.want === "tokens" ? undefined : this.row(raw, row), state);
    }
    this.countSampling(choosing, start);
  }

  /** A token has been sampled. If it was guessed, it has been read as well. */
  private accept(sequence: Sequence, token: number, logits?: Float32Array, state?: bigint): void {
    this.guesser?.check(sequence.guesses, token);
    sequence.accept(token, logits, state);
    if (!sequence.ended && sequence.guesses.confirms(token)) sequence.confirmGuess();
  }

  private countPass(batch: readonly Sequence[], start: number): void {
    const end = performance.now();
    for (const { owner } of batch) if (owner.reading > 0) owner.countPass(start, end);
  }

  private countSampling(choosing: readonly Sequence[], start: number): void {
    const end = performance.now();
    for (const { owner } of choosing) if (owner.chooses && owner.countSampling(start, end)) this.urgent = true;
  }

  /** Whether the backend can decode all sequences by itself: none reads a prompt or wants logits. */
  private canGoOn(): boolean {
    if (this.live.length === 0 || !this.slots.context.decode || this.live.length > this.maxBatch) return false;
    return this.live.every(
      ({ sampler, choosesHere, want, stuck, unread }) =>
        sampler && !choosesHere && want === "tokens" && !stuck && unread === 1,
    );
  }

  /** Start that, for at most as many tokens as the shortest has left. */
  private letGo(): void {
    const sequences = [...this.live];
    const running = sequences.map((sequence) => sequence.running());
    const steps = this.slots.context.decode?.(running, Math.min(...sequences.map(({ left }) => left)));
    const states = running.map(({ sampler }) => sampler.rngState);
    if (steps) this.going = { steps, sequences, states, draws: 0 };
  }

  /** What is under way ends before anything else is done with the slots. */
  private finishGoing(): void {
    try {
      while (this.going) this.goOn(this.going);
    } catch (error) {
      this.failAll(describe(error));
    }
  }

  /** Take the tokens of one step. */
  private goOn(going: Going): void {
    const start = performance.now();
    const { value: tokens, done } = going.steps.next();
    if (done) {
      this.going = undefined;
      this.retire();
      return;
    }
    going.draws++;
    const lively = going.sequences.filter(({ ended, stuck }) => !ended && !stuck);
    for (const { owner } of lively) {
      owner.reading++;
      owner.decodes = true;
      owner.chooses = true;
    }
    this.countPass(lively, start);
    this.countSampling(lively, performance.now());
    for (const [i, sequence] of going.sequences.entries()) {
      if (sequence.ended || sequence.stuck) continue;
      if (tokens[i] < 0) {
        sequence.stuck = true;
        continue;
      }
      sequence.slot.held++;
      sequence.accept(tokens[i]);
      // the backend says how far the generators are when it is done, and may be further ahead than this
      if (sequence.ended) sequence.setState(going.states[i], going.draws);
    }
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

/** The sampler as it will be when it has drawn once more. */
function oneDrawLater(sampler: Sampler): Sampler {
  return { ...sampler, rngState: advance(sampler, sampler.rngState, 1) };
}
