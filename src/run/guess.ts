/*
 * Guessing ahead: decoding one token reads every weight once, and several tokens share one pass. So the tokens that
 * may come next are guessed, and read in the same pass as the newest token. Each position is sampled as always, by the
 * ordinary sampler with the ordinary coin, and a guess counts only if it is the very token that was sampled: nothing
 * that is told can depend on what was guessed.
 *
 * Guesses come from what this process has read and written, and from what the sequence itself repeats. How many are
 * worth a wider pass follows from how often such guesses were right, and from what passes have cost so far.
 */
import { MAX_LONGEST } from "./guessFile.ts";
import type { GuessTable } from "./guessTable.ts";
import { PassCosts, steadied } from "./passCosts.ts";

/** The most tokens that are guessed ahead of one sequence. */
export const MOST_GUESSES = 15;

/** What may come after the tokens that a sequence has. */
export class Guesses {
  readonly tokens = new Int32Array(MOST_GUESSES);
  /** Of each, that it and all before it are right. */
  readonly chances = new Float64Array(MOST_GUESSES);
  /** Of each, where it comes from. */
  readonly kinds = new Int32Array(MOST_GUESSES);
  count = 0;
  /** The first so many are read in the pass at hand. */
  used = 0;
  /** Of these, so many have been found right. */
  right = 0;

  /** Whether `token`, which has just been sampled, is what was guessed and read. */
  confirms(token: number): boolean {
    return this.right < this.used && this.tokens[this.right] === token;
  }

  clear(): void {
    this.count = 0;
    this.used = 0;
    this.right = 0;
  }
}

/** What has to be known of a sequence to guess how it goes on. */
export interface Continuing {
  readonly tokens: readonly number[];
  /** How many more it may have. */
  readonly left: number;
  readonly stops: readonly number[];
  readonly guesses: Guesses;
}

/** What the scheduler asks. */
export interface Guesser {
  /** Before a pass in which each of `batch` reads its newest token: fill their guesses, to use at most `room` in all. */
  guess(batch: readonly Continuing[], room: number): void;
  /** `token` was sampled where `guesses` says what had been guessed; `right` of these are confirmed already. */
  check(guesses: Guesses, token: number): void;
  /** Such a pass with so many rows took so long, sampling included. */
  passed(rows: number, ms: number): void;
  /** tokens[from], ... came after those before them. */
  learn(tokens: readonly number[], from: number): void;
}

/** How often guesses of one kind were right. */
interface Record {
  right: number;
  of: number;
}

/** Guesses below this chance are not worth a row, whatever rows cost. */
const LEAST_CHANCE = 0.05;
/** A wider pass has to promise so much more, since its promise is an estimate. */
const MARGIN = 1.05;
/** Where guessing brings nothing, it may take this share of the time to find out whether that has changed. */
const IDLE_SHARE = 0.004;
/** The first passes are slow, and would tell nothing of what passes cost. */
const WARM_UP = 16;
/** A record forgets: what it holds of so many guesses counts half from then on. */
const RECORD_LENGTH = 256;

export class TableGuesser implements Guesser {
  private readonly table: GuessTable;
  private readonly most: number; // guesses
  private readonly fixed: boolean; // use all of them, whatever they cost
  private readonly costs = new PassCosts();
  private readonly records: Record[] = Array.from({ length: KINDS }, () => ({ right: 2, of: 4 }));
  private readonly repeat = new Repeat();
  private readonly window: Int32Array; // the last tokens of a sequence, then what is guessed
  private rest = WARM_UP; // passes until guessing is tried again
  private guessMs = 0; // how long that takes

  /** @param lookahead "auto", or how many guesses to use always, 1 to 15 */
  constructor(table: GuessTable, lookahead: "auto" | number) {
    this.table = table;
    this.most = lookahead === "auto" ? MOST_GUESSES : lookahead;
    this.fixed = lookahead !== "auto";
    if (this.fixed) this.rest = 0;
    this.window = new Int32Array(MAX_LONGEST + MOST_GUESSES);
  }

  guess(batch: readonly Continuing[], room: number): void {
    for (const { guesses } of batch) guesses.clear();
    if (room === 0 || --this.rest > 0) return;
    const start = performance.now();
    for (const sequence of batch) this.propose(sequence, Math.min(this.most, sequence.left - 1));
    const used = this.fixed ? useAll(batch, room) : this.choose(batch, room);
    this.guessMs = steadied(this.guessMs, performance.now() - start);
    const passMs = this.costs.of(batch.length);
    if (used === 0 && passMs > 0) this.rest = Math.ceil(this.guessMs / (IDLE_SHARE * passMs));
  }

  check({ count, right, tokens, kinds }: Guesses, token: number): void {
    if (right >= count) return;
    const record = this.records[kinds[right]];
    if (tokens[right] === token) record.right++;
    if (++record.of < RECORD_LENGTH) return;
    record.right /= 2;
    record.of /= 2;
  }

  passed(rows: number, ms: number): void {
    this.costs.note(rows, ms);
  }

  learn(tokens: readonly number[], from: number): void {
    for (let at = Math.max(1, from); at < tokens.length; at++) this.table.learn(tokens, at);
  }

  /** Guess at most `most` tokens that follow those of a sequence. */
  private propose({ tokens, guesses, stops }: Continuing, most: number): void {
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
      if (chance < LEAST_CHANCE && guesses.count > 0 && !this.fixed) return; // the first is checked in any case
      guesses.tokens[guesses.count] = token;
      guesses.chances[guesses.count] = chance;
      guesses.kinds[guesses.count] = kind;
      window[end++] = token;
      repeat.advance(token);
    }
  }

  private chanceOf(kind: number): number {
    const { right, of } = this.records[kind];
    return right / of;
  }

  /** Use the guesses that promise the most tokens a millisecond, the likeliest first. Returns how many these are. */
  private choose(batch: readonly Continuing[], room: number): number {
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
    return best - plain;
  }
}

/** All guesses of all sequences, the likeliest first; those of one sequence stay in their order. */
function rank(batch: readonly Continuing[]): { guesses: Guesses; chance: number }[] {
  const all: { guesses: Guesses; chance: number }[] = [];
  for (const { guesses } of batch) {
    for (let i = 0; i < guesses.count; i++) all.push({ guesses, chance: guesses.chances[i] });
  }
  return batch.length === 1 ? all : all.sort((a, b) => b.chance - a.chance); // stable, and chances fall
}

/** Use as many as there is room for, the same number of each sequence where they have them. Returns how many. */
function useAll(batch: readonly Continuing[], room: number): number {
  let used = 0;
  for (let depth = 0; depth < MOST_GUESSES; depth++) {
    for (const { guesses } of batch) {
      if (depth >= guesses.count || used === room) continue;
      guesses.used++;
      used++;
    }
  }
  return used;
}

const LONGEST = 8; // longer matches are of one kind
const TIMES = 5; // seen once, 2 or 3 times, 4 to 7, 8 to 15, oftener
const KINDS = LONGEST * TIMES * 2 + LONGEST + 1;

/** Guesses from the table are of one kind if their contexts are of one length, and were seen about as often. */
function kindOfKnown(matched: number, times: number, isRepeated: boolean): number {
  const often = Math.min(TIMES - 1, 31 - Math.clz32(times));
  return ((Math.min(matched, LONGEST) - 1) * TIMES + often) * 2 + (isRepeated ? 1 : 0);
}

/** And those that the sequence repeats, by how much it has repeated so far. */
function kindOfRepeated(length: number): number {
  return LONGEST * TIMES * 2 + Math.min(length, LONGEST);
}

/** What came after the last tokens of a sequence when they stood in it before. */
class Repeat {
  /** -1: nothing. */
  token = -1;
  /** How many of the last tokens stood there. */
  length = 0;
  private tokens: readonly number[] = [];
  private at = 0;

  /** The longest repetition; of equally long ones the latest. */
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

  /** `token` is guessed: does it go on? */
  advance(token: number): void {
    if (token !== this.token) this.token = -1;
    if (this.token < 0) return;
    this.at++;
    this.length++;
    this.token = this.at < this.tokens.length ? this.tokens[this.at] : -1;
  }
}

/** How far back a repetition is looked for. */
const FARTHEST = 1024;
