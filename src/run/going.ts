/*
 * Sequences that the backend decodes by itself, some steps at a time.
 */
import type { Context, Steps } from "../backend/backend.ts";
import type { Sequence } from "./sequence.ts";

/** When some steps began, when choosing their tokens began (if it had all been done at the end), and when they ended. */
export interface Times {
  start: number;
  choosing: number;
  end: number;
}

export class Going {
  readonly sequences: readonly Sequence[];
  /** Steps so far, and the milliseconds that they took. */
  draws = 0;
  ms = 0;
  private readonly guessing: boolean;
  private readonly states: readonly bigint[]; // of the generators, when it began
  private readonly steps: Generator<Steps, void, void>;

  /**
   * @param decode of the context that the sequences are in
   * @param most how many tokens each may get
   * @param guessing whether passes are counted for guesses
   */
  constructor(sequences: readonly Sequence[], decode: NonNullable<Context["decode"]>, most: number, guessing: boolean) {
    for (const { guesses } of sequences) guesses.clear();
    const running = sequences.map((sequence) => sequence.running());
    this.sequences = sequences;
    this.guessing = guessing;
    this.states = running.map(({ sampler }) => sampler.rngState);
    this.steps = decode(running, most);
  }

  /** Give the sequences the tokens of the next steps. @returns when they were made; undefined at the end */
  next(): Times | undefined {
    const start = performance.now();
    const { value: steps, done } = this.steps.next();
    const end = performance.now();
    if (done) return undefined;
    const { tokens, sampleMs } = steps;
    for (let at = 0; at < tokens.length; at += this.sequences.length) {
      this.draws++;
      for (let i = 0; i < this.sequences.length; i++) this.receive(i, tokens[at + i]);
    }
    this.ms += end - start;
    return { start, choosing: end - sampleMs, end };
  }

  /** End it early. */
  stop(): void {
    this.steps.return();
  }

  /** A token has been chosen for sequence `i`; -1: none. */
  private receive(i: number, token: number): void {
    const sequence = this.sequences[i];
    if (sequence.ended || sequence.stuck) return;
    sequence.owner.reading++;
    sequence.owner.decodes = true;
    sequence.owner.chooses = true;
    if (token < 0) {
      sequence.stuck = true;
      return;
    }
    sequence.slot.held++;
    sequence.accept(token);
    if (this.guessing) sequence.countGuesses();
    // the generators are updated when the backend is done, and it may be further ahead than this
    if (sequence.ended) sequence.setState(this.states[i], this.draws);
  }
}
