/*
 * Guessers for tests: one knows the next tokens, and is wrong at a given rate.
 */
import type { Continuing, Guesser } from "../../src/run/guess.ts";

export class KnowingGuesser implements Guesser {
  /** Of the guesses so far that could be checked. */
  right = 0;
  wrong = 0;
  private rest = 0; // passes until it guesses again: none to three
  private readonly most: number;
  private readonly hit: number;
  private readonly vocabSize: number;
  private readonly sequels = new Map<string, number[]>(); // what may come after these tokens
  private random = 1;

  /**
   * @param most guesses ahead of a sequence
   * @param hit how often it says what it knows, 0 to 1; otherwise any token
   */
  constructor(most: number, hit: number, vocabSize: number) {
    this.most = most;
    this.hit = hit;
    this.vocabSize = vocabSize;
  }

  /** Some sequence has these tokens. */
  know(tokens: readonly number[]): void {
    for (let end = 1; end < tokens.length; end++) {
      const key = tokens.slice(0, end).join(" ");
      this.sequels.set(key, [...(this.sequels.get(key) ?? []), tokens[end]]);
    }
  }

  idle(): number {
    return this.rest;
  }

  idled(passes: number): void {
    this.rest -= passes;
  }

  guess(batch: readonly Continuing[], room: number): void {
    this.rest = this.draw(4);
    let left = room;
    for (const { tokens, stops, left: more, guesses } of batch) {
      guesses.clear();
      const so = [...tokens];
      while (guesses.count < Math.min(this.most, more - 1, left)) {
        const known = this.sequels.get(so.join(" ")) ?? [];
        const knows = known.length > 0 && this.draw(1000) < 1000 * this.hit;
        const token = knows ? known[this.draw(known.length)] : this.draw(this.vocabSize);
        if (stops.includes(token)) break;
        guesses.tokens[guesses.count++] = token;
        so.push(token);
      }
      guesses.used = guesses.count;
      left -= guesses.used;
    }
  }

  check({ count, right, tokens }: Continuing["guesses"], token: number): void {
    if (right >= count) return;
    if (tokens[right] === token) this.right++;
    else this.wrong++;
  }

  passed(): void {}
  learn(): void {}

  /** 0 to below - 1. */
  private draw(below: number): number {
    this.random = (Math.imul(this.random, 1103515245) + 12345) & 0x7fffffff;
    return (this.random >>> 8) % below;
  }
}
