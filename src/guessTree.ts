/*
 * Chooses the contexts of a table of guesses.
 *
 * The contexts of a set of texts form a tree: below "a" are "was a", "there was a", and so on. A context is worth the
 * tokens that it guesses right and the next shorter one does not. So the longest are judged first, and the positions of
 * a dropped context are counted for the next shorter one.
 */
import { hashHigh, hashLow } from "./run/guessTable.ts";

/** A context, and what usually came next. */
interface Entry {
  low: number; // parts of its hash
  high: number;
  token: number;
  times: number; // how often that token came
  worth: number; // about how many more tokens are guessed right with it
}

/** A context: it ends before each of the positions order[from] to order[to - 1]. */
interface Node {
  from: number;
  to: number;
  length: number; // in tokens
  low: number;
  high: number;
}

/** Steps of the bisection by which `best` fills a table to its limit, within a few entries. */
const STEPS = 8;

/** All contexts of up to `longest` tokens in some texts, to choose a table's entries from. */
export class GuessTree {
  private readonly tokens: Int32Array; // of all texts, one after another
  private readonly before: Uint8Array; // how many tokens of its text, at most `longest`, precede each
  private readonly order: Int32Array; // positions, sorted so that those of one context are adjacent
  private readonly guessed: Uint8Array; // whether a longer context already guesses at order[i]
  private readonly counts: Int32Array; // scratch: how often each token came
  private readonly longest: number;
  private isSorted = false;

  constructor(stories: readonly ArrayLike<number>[], vocabSize: number, longest: number) {
    const total = stories.reduce((sum, { length }) => sum + length, 0);
    this.longest = longest;
    this.tokens = new Int32Array(total);
    this.before = new Uint8Array(total);
    this.order = new Int32Array(total).map((_, i) => i);
    this.guessed = new Uint8Array(total);
    this.counts = new Int32Array(vocabSize);
    let at = 0;
    for (const story of stories) {
      this.tokens.set(story, at);
      for (let i = 0; i < story.length; i++) this.before[at + i] = Math.min(i, longest);
      at += story.length;
    }
  }

  /**
   * The best table of at most `most` entries: the one that guesses the most tokens right.
   * @returns (entries, 4), in order of worth, most first: hash low, hash high, token, times
   */
  best(most: number): Int32Array {
    let entries = this.worthMore(0);
    let low = 0;
    let high = entries.length > most ? byWorth(entries)[most].worth : 0;
    // bisect for the worth that leaves just over `most` entries; then drop the least of them
    for (let step = 0; step < STEPS && high > low; step++) {
      const enough = step === 0 ? high : (low + high) / 2;
      const some = this.worthMore(enough);
      if (some.length < most) high = enough;
      else {
        low = enough;
        entries = some;
      }
    }
    const chosen = byWorth(entries).slice(0, most);
    return Int32Array.from(chosen.flatMap(({ low, high, token, times }) => [low, high, token, times]));
  }

  /** The contexts that are worth more than `enough`. */
  private worthMore(enough: number): Entry[] {
    const kept: Entry[] = [];
    this.guessed.fill(0);
    const root = { from: 0, to: this.order.length, length: 0, low: 0, high: 0 };
    for (const node of this.longer(root)) this.judge(node, -1, enough, kept);
    this.isSorted = true;
    return kept;
  }

  /** Keep a context, and the longer ones below it, if they are worth it. `shorter`: the next shorter one's guess. */
  private judge(node: Node, shorter: number, enough: number, kept: Entry[]): void {
    const { token, times } = this.commonest(node);
    if (times < 2) return; // it has never guessed anything
    for (const longer of this.longer(node)) this.judge(longer, token, enough, kept);
    let guesses = 0;
    let hits = 0;
    let without = 0;
    for (let i = node.from; i < node.to; i++) {
      if (this.guessed[i]) continue;
      const next = this.tokens[this.order[i]];
      guesses++;
      if (next === token) hits++;
      if (next === shorter) without++;
    }
    // the fractions break ties, by hits and then by hash: with equal worths, a cut would drop all of them or none
    const worth = hits - without + hits / (guesses + 1) + (node.low >>> 0) / 2 ** 39;
    if (hits <= without || worth <= enough) return;
    kept.push({ low: node.low, high: node.high, token, times, worth });
    this.guessed.fill(1, node.from, node.to);
  }

  /** The token that came most often after a context (on a tie the lowest id), and how often. */
  private commonest({ from, to }: Node): { token: number; times: number } {
    const { tokens, order, counts } = this;
    let token = -1;
    let times = 0;
    for (let i = from; i < to; i++) {
      const next = tokens[order[i]];
      const count = ++counts[next];
      if (count > times || (count === times && next < token)) {
        token = next;
        times = count;
      }
    }
    for (let i = from; i < to; i++) counts[tokens[order[i]]] = 0;
    return { token, times };
  }

  /** The contexts with one more token in front that occur at least twice. */
  private *longer({ from, to, length, low, high }: Node): Generator<Node> {
    if (length === this.longest) return;
    const { tokens, before, order } = this;
    const older = (at: number) => (before[at] > length ? tokens[at - 1 - length] : -1);
    if (!this.isSorted) order.subarray(from, to).sort((a, b) => older(a) - older(b));
    for (let start = from, end = from; start < to; start = end) {
      const token = older(order[start]);
      while (end < to && older(order[end]) === token) end++;
      if (token < 0 || end - start < 2) continue;
      yield { from: start, to: end, length: length + 1, low: hashLow(low, token), high: hashHigh(high, token) };
    }
  }
}

const byWorth = (entries: Entry[]): Entry[] => entries.sort((a, b) => b.worth - a.worth);
