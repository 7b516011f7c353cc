/*
 * Guessing ahead (speculative decoding): decoding one token reads every weight once, and several tokens can share that
 * pass. So the tokens that may come next are guessed, and read in the same pass as the newest token. Each position is
 * then sampled as usual, with the usual random numbers, and a guess counts only if it equals the token that was sampled.
 * So guesses never change the output.
 *
 * Guesses come from what this process has read and written, and from repetitions within the sequence. How many are
 * worth a wider pass follows from how often such guesses were right, and from how long passes have taken so far. That is
 * only an estimate. So it is also counted what guessing really gains: where it loses, it rests, and loses little in all.
 */
import { type GuessEntries, MAX_LONGEST } from "./guessFile.ts";
import type { GuessTable } from "./guessTable.ts";
import { HELD_UP, PassCosts, TRIES } from "./passCosts.ts";

/** The most tokens guessed for one sequence in a pass. */
const MOST_GUESSES = 15;

/** The tokens guessed to come next in one sequence, the next one first. */
export class Guesses {
  readonly tokens = new Int32Array(MOST_GUESSES);
  /** For each guess: the probability, 0 to 1, that it and all before it are right. */
  readonly chances = new Float64Array(MOST_GUESSES);
  /** For each guess: its kind, which says which record it counts for (kindOfKnown, kindOfRepeated). */
  readonly kinds = new Int32Array(MOST_GUESSES);
  count = 0;
  /** How many of them, from the first, the current pass reads. */
  used = 0;
  /** How many of those have been confirmed so far. */
  right = 0;

  /** Whether `token`, just sampled, is the next guess that this pass has read. */
  confirms(token: number): boolean {
    return this.right < this.used && this.tokens[this.right] === token;
  }

  clear(): void {
    this.count = 0;
    this.used = 0;
    this.right = 0;
  }
}

/** What a guesser needs to know about a sequence. */
export interface Continuing {
  readonly tokens: readonly number[];
  /** How many more tokens it may get. */
  readonly left: number;
  readonly stops: readonly number[];
  readonly guesses: Guesses;
}

/** What the scheduler calls, around each pass. */
export interface Guesser {
  /** How many passes of so many sequences it will not guess in: they may be made without `guess`, and told to `idled`. */
  idle(sequences: number): number;
  /** Before a pass that reads the newest token of each sequence: fill its guesses, and use at most `room` in all. */
  guess(batch: readonly Continuing[], room: number): void;
  /** `token` was sampled: count whether the first guess that is not confirmed yet was right. */
  check(guesses: Guesses, token: number): void;
  /** Such a pass read `rows` tokens in `ms` milliseconds, sampling included. */
  passed(rows: number, ms: number): void;
  /** `passes` passes were made without calling `guess`, of `rows` tokens each, in `ms` milliseconds in all. */
  idled(passes: number, rows: number, ms: number): void;
  /** Learn that each of tokens[from], tokens[from + 1], ... followed the tokens before it. */
  learn(tokens: readonly number[], from: number): void;
}

/** How often guesses of one kind were right. */
interface Record {
  right: number;
  of: number;
}

/** A guess less likely than this is never read, however cheap a wider pass is. */
const LEAST_CHANCE = 0.05;
/** A wider pass must promise this many times the rate of a plain one: the promise is only an estimate. */
const MARGIN = 1.05;
/**
 * What guessing and learning may lose: this share of the time; so many milliseconds at first, when their code is not
 * compiled yet; and what guesses have gained, up to so many plain passes.
 */
const MOST_LOST = 0.01;
const COLD_MS = 10;
const MOST_SAVED = 64;
/** When all that is used up, guessing rests until the time of so many plain passes may be lost again. */
const FRESH = 5;
/** A token that takes less comes from a cache: guesses gain less there, and learning costs more. */
const SHORT_MS = 0.3;
/** More sequences than this share the weights of a pass anyway: guessing for them all gains little, and may lose. */
const FEW_SEQUENCES = 4;
/** When a record holds this many guesses, both its counts are halved, so that recent guesses weigh more. */
const RECORD_LENGTH = 256;

/** Guesses from a table of what came next before, and from repetitions within the sequence. */
export class TableGuesser implements Guesser {
  private readonly table: GuessTable;
  private readonly most: number; // guesses
  private readonly fixed: boolean; // guess before each pass, and use all guesses, whatever they cost
  private readonly costs = new PassCosts();
  private readonly plainCosts = new PassCosts(); // of passes without guesses
  private readonly records: Record[] = Array.from({ length: KINDS }, () => ({ right: 2, of: 4 }));
  private readonly repeat = new Repeat();
  private readonly window: Int32Array; // the last tokens of a sequence, then what is guessed
  private restMs: number; // of passes until it begins to learn and to guess
  private tokenMs = 0; // of the last pass
  private spareMs = COLD_MS; // what may be lost now
  private rests = false; // until enough may be lost again
  private guessing: { batch: readonly Continuing[]; ms: number } | undefined; // the last call of `guess`, until its pass
  private more: GuessEntries | undefined; // not in the table yet

  /**
   * @param lookahead "auto", or a fixed number of guesses per sequence and pass, 1 to 15
   * @param afterMs it begins to learn and to guess after so many milliseconds of passes; after three times as
   *   many if a token takes less than SHORT_MS
   */
  constructor(table: GuessTable, lookahead: "auto" | number, afterMs = 0) {
    this.table = table;
    this.restMs = afterMs;
    this.most = lookahead === "auto" ? MOST_GUESSES : lookahead;
    this.fixed = lookahead !== "auto";
    this.window = new Int32Array(MAX_LONGEST + MOST_GUESSES);
  }

  /** Guess from these as well. That takes time, so it happens only once it is of use. */
  takeIn(entries: GuessEntries): void {
    this.more = entries;
  }

  guess(batch: readonly Continuing[], room: number): void {
    this.guessing = undefined;
    for (const { guesses } of batch) guesses.clear();
    if (room === 0 || this.isIdle(batch.length) || this.untilAllowed(batch.length) > 0) return;
    const start = performance.now();
    if (this.more) this.table.add(this.more);
    this.more = undefined;
    const least = this.fixed ? 0 : this.leastChance(batch.length);
    for (const sequence of batch) this.propose(sequence, Math.min(this.most, sequence.left - 1), least);
    if (this.fixed) useAll(batch, room);
    else this.choose(batch, room);
    this.guessing = { batch, ms: performance.now() - start };
  }

  check({ count, right, tokens, kinds }: Guesses, token: number): void {
    if (right >= count) return;
    const record = this.records[kinds[right]];
    if (tokens[right] === token) record.right++;
    if (++record.of < RECORD_LENGTH) return;
    record.right /= 2;
    record.of /= 2;
  }

  idle(sequences: number): number {
    return this.isIdle(sequences) ? Infinity : this.untilAllowed(sequences);
  }

  passed(rows: number, ms: number): void {
    const { guessing } = this;
    if (!guessing) this.plainCosts.note(rows, ms);
    else if (rows === guessing.batch.length) this.plainCosts.note(rows, ms - guessing.ms);
    else this.plainCosts.skip();
    this.took(1, rows, ms, guessing ? this.gained(guessing, rows, ms) : 0);
  }

  idled(passes: number, rows: number, ms: number): void {
    for (let pass = 0; pass < passes; pass++) this.plainCosts.note(rows, ms / passes);
    if (passes > 0) this.took(passes, rows, ms, 0);
  }

  learn(tokens: readonly number[], from: number): void {
    if (this.restMs > 0 || (this.rests && this.tokenMs < SHORT_MS)) return;
    const start = performance.now();
    for (let at = Math.max(1, from); at < tokens.length; at++) this.table.learn(tokens, at);
    this.spareMs -= performance.now() - start;
  }

  /** Fill the guesses of one sequence, at most `most`, until one's chance is less than `least`. */
  private propose({ tokens, guesses, stops }: Continuing, most: number, least: number): void {
    const { table, window, repeat } = this;
    let end = Math.min(tokens.length, table.longest);
    for (let i = 0; i < end; i++) window[i] = tokens[tokens.length - end + i];
    repeat.find(tokens);
    let chance = 1;
    for (; guesses.count < most; guesses.count++) {
      const known = table.find(window, end);
      let token = known;
      let kind = known < 0 ? -1 : kindOfKnown(table.matched, table.times, repeat.token === known);
      if (repeat.token >= 0 && repeat.token !== known) {
        const repeated = kindOfRepeated(repeat.length);
        if (known < 0 || this.chanceOf(repeated) > this.chanceOf(kind)) {
          token = repeat.token;
          kind = repeated;
        }
      }
      if (token < 0 || stops.includes(token)) return;
      chance *= this.chanceOf(kind);
      if (chance < least && guesses.count > 0) return; // the first is checked in any case
      guesses.tokens[guesses.count] = token;
      guesses.chances[guesses.count] = chance;
      guesses.kinds[guesses.count] = kind;
      window[end++] = token;
      repeat.advance(token);
    }
  }

  /** Guesses for `plain` sequences that are less likely are not worth looking for: a row costs at least twice as much. */
  private leastChance(plain: number): number {
    const wider = plain + 4;
    const rowMs = (this.costs.of(wider) - this.costs.of(plain)) / 4;
    return Math.max(LEAST_CHANCE, (plain * rowMs) / this.costs.of(plain) / 2);
  }

  private isIdle(sequences: number): boolean {
    return this.restMs > 0 || (!this.fixed && sequences > FEW_SEQUENCES);
  }

  /** So many passes took so long in all, and guesses gained so much. */
  private took(passes: number, rows: number, ms: number, gainedMs: number): void {
    const passMs = ms / passes;
    for (let pass = 0; pass < passes; pass++) this.costs.note(rows, passMs);
    this.tokenMs = passMs / rows;
    this.restMs -= this.tokenMs < SHORT_MS ? ms / 3 : ms;
    this.spareMs = Math.min(this.spareMs + MOST_LOST * ms + gainedMs, MOST_SAVED * passMs);
    if (this.spareMs < 0) this.rests = !this.fixed;
    else if (this.spareMs >= FRESH * passMs) this.rests = false;
  }

  /** In how many passes of so many sequences it may not guess: what they cost must be known, and there must be time. */
  private untilAllowed(sequences: number): number {
    if (this.fixed) return 0;
    const plainMs = this.plainCosts.measured(sequences);
    if (plainMs === 0) return TRIES;
    return this.rests ? Math.max(1, Math.ceil((FRESH * plainMs - this.spareMs) / (MOST_LOST * plainMs))) : 0;
  }

  /** How many milliseconds more plain passes would have taken than this pass and guessing for it. */
  private gained(
    { batch, ms: guessMs }: { batch: readonly Continuing[]; ms: number },
    rows: number,
    ms: number,
  ): number {
    const plain = batch.length;
    const plainMs = this.plainCosts.measured(plain);
    const right = batch.reduce((sum, { guesses }) => sum + guesses.right, 0);
    const passMs = Math.min(ms - guessMs, (HELD_UP * plainMs * rows) / plain); // no guess holds a pass up longer
    return (plainMs * (plain + right)) / plain - passMs - guessMs;
  }

  private chanceOf(kind: number): number {
    const { right, of } = this.records[kind];
    return right / of;
  }

  /** Use as many guesses, the likeliest first, as promise the most tokens a millisecond. */
  private choose(batch: readonly Continuing[], room: number): void {
    const plain = batch.length;
    const ranked = rank(batch);
    const widest = Math.min(plain + Math.min(room, ranked.length), this.costs.widestToTry(plain));
    let best = plain;
    let bestRate = (MARGIN * plain) / this.costs.of(plain);
    let expected = plain;
    for (let rows = plain + 1; rows <= widest; rows++) {
      expected += ranked[rows - plain - 1].chance;
      const rate = expected / this.costs.of(rows);
      if (rate > bestRate) [best, bestRate] = [rows, rate];
    }
    for (let i = 0; i < best - plain; i++) ranked[i].guesses.used++;
  }
}

/** All guesses of all sequences, the likeliest first; guesses of one sequence keep their order. */
function rank(batch: readonly Continuing[]): { guesses: Guesses; chance: number }[] {
  const all: { guesses: Guesses; chance: number }[] = [];
  for (const { guesses } of batch) {
    for (let i = 0; i < guesses.count; i++) all.push({ guesses, chance: guesses.chances[i] });
  }
  return batch.length === 1 ? all : all.sort((a, b) => b.chance - a.chance); // stable, and chances only fall
}

/** Use as many guesses as there is room for, spread evenly over the sequences. */
function useAll(batch: readonly Continuing[], room: number): void {
  let used = 0;
  for (let depth = 0; depth < MOST_GUESSES; depth++) {
    for (const { guesses } of batch) {
      if (depth >= guesses.count || used === room) continue;
      guesses.used++;
      used++;
    }
  }
}

const LONGEST = 8; // tokens; longer matches share one kind
const TIMES = 5; // classes: seen once, 2 or 3 times, 4 to 7, 8 to 15, more often
const KINDS = LONGEST * TIMES * 2 + LONGEST + 1;

/** The kind of a guess from the table: by its context's length, how often it was seen, and if a repetition agrees. */
function kindOfKnown(matched: number, times: number, isRepeated: boolean): number {
  const often = Math.min(TIMES - 1, 31 - Math.clz32(times));
  return ((Math.min(matched, LONGEST) - 1) * TIMES + often) * 2 + (isRepeated ? 1 : 0);
}

/** The kind of a guess that repeats the sequence itself: by how many tokens have matched so far. */
function kindOfRepeated(length: number): number {
  return LONGEST * TIMES * 2 + Math.min(length, LONGEST);
}

/** Where the last tokens of a sequence occurred in it before, and what followed them there. */
class Repeat {
  /** The token that followed; -1: there is no repetition. */
  token = -1;
  /** How many of the last tokens match. */
  length = 0;
  private tokens: readonly number[] = [];
  private at = 0;

  /** Find the longest repetition of at least two tokens; on a tie the latest. */
  find(tokens: readonly number[]): void {
    const end = tokens.length;
    const last = tokens[end - 1];
    const before = tokens[end - 2];
    this.tokens = tokens;
    this.token = -1;
    this.length = 0;
    for (let i = end - 2; i >= Math.max(1, end - FARTHEST) && this.length < LONGEST; i--) {
      if (tokens[i] !== last || tokens[i - 1] !== before) continue;
      let length = 2;
      while (length < LONGEST && length <= i && tokens[i - length] === tokens[end - 1 - length]) length++;
      if (length <= this.length) continue;
      this.length = length;
      this.at = i + 1;
      this.token = tokens[i + 1];
    }
  }

  /** `token` was guessed next: follow the repetition, or drop it if it continues otherwise. */
  advance(token: number): void {
    if (token !== this.token) this.token = -1;
    if (this.token < 0) return;
    this.at++;
    this.length++;
    this.token = this.at < this.tokens.length ? this.tokens[this.at] : -1;
  }
}

/** How many tokens back a repetition is looked for. */
const FARTHEST = 1024;
