/*
 * A request: its sequences wait, run and end independently, and are reported together.
 */
import type { FailureInfo, Report, RequestTimings, SequenceRequest, Slice } from "./protocol.ts";

/** What a request needs of its sequences. */
interface Reporting {
  readonly ended: boolean;
  /** The results since the last time, if there are any. */
  takeSlice(): Slice | undefined;
}

export class Request {
  readonly id: number;
  readonly sequences: readonly SequenceRequest[];
  started = 0; // sequences that no longer wait
  live = 0;
  /** Of the current pass: how many positions it reads, whether any is after a prompt, whether a token is chosen. */
  reading = 0;
  decodes = false;
  chooses = false;
  private begun = false; // its first token has been chosen but not reported
  private reporting: Reporting[] = []; // live, or ended but not reported yet
  private slices: Slice[] = []; // of sequences that ended before they began
  private readonly timings: RequestTimings = {
    firstTokenMs: 0,
    prefillMs: 0,
    decodeMs: 0,
    sampleMs: 0,
    tokensPerSecond: 0,
  };
  private readonly begin = performance.now();
  private clockStart = 0; // run.c's clock starts when the prompt has been read
  private positions = 0; // read since then
  private clockEnd = 0;

  constructor(id: number, sequences: readonly SequenceRequest[]) {
    this.id = id;
    this.sequences = sequences;
  }

  get ended(): boolean {
    return this.live === 0 && this.started === this.sequences.length;
  }

  /** Whether it should be reported at once: its first token, or its end. */
  get urgent(): boolean {
    return this.begun || this.ended;
  }

  /** Its next sequence has a slot. */
  start(sequence: Reporting): void {
    this.started++;
    this.live++;
    this.reporting.push(sequence);
  }

  /** Its next sequence ends before it has begun: there is nothing to read, or no room. */
  skip(error?: FailureInfo): void {
    const { sampling } = this.sequences[this.started];
    const slice: Slice = { sequence: this.started++, tokens: [], ended: error ? "failed" : "length" };
    if (error) slice.error = error;
    else if (sampling) slice.state = sampling.state;
    this.slices.push(slice);
  }

  /** The results since the last time, if there are any. */
  report(): Report | undefined {
    const slices = this.slices;
    this.slices = [];
    this.begun = false;
    let ended = false;
    for (const sequence of this.reporting) {
      const slice = sequence.takeSlice();
      if (slice) slices.push(slice);
      ended ||= sequence.ended;
    }
    if (ended) this.reporting = this.reporting.filter((sequence) => !sequence.ended);
    const elapsed = this.clockEnd - this.clockStart;
    if (this.positions > 0 && elapsed > 0) this.timings.tokensPerSecond = (this.positions / elapsed) * 1000;
    for (const slice of slices) if (slice.ended) slice.timings = { ...this.timings };
    if (!this.ended && slices.length === 0) return undefined;
    return { id: this.id, slices, timings: this.timings, ended: this.ended };
  }

  /** A pass took from `start` to `end`. */
  countPass(start: number, end: number): void {
    this.timings[this.decodes ? "decodeMs" : "prefillMs"] += end - start;
    if (this.clockStart > 0) {
      this.positions += this.reading;
      this.clockEnd = end;
    }
    this.reading = 0;
    this.decodes = false;
  }

  /** A guess that the current pass has read was right. */
  countGuess(): void {
    if (this.clockStart > 0) this.positions++;
  }

  /**
   * Tokens were chosen from `start` to `end`, some of them for this request.
   * @returns whether they are its first
   */
  countSampling(start: number, end: number): boolean {
    this.chooses = false;
    this.timings.sampleMs += end - start;
    this.clockEnd = end;
    if (this.clockStart > 0) return false;
    this.begun = true;
    this.clockStart = start;
    this.timings.firstTokenMs = end - this.begin;
    return true;
  }
}
