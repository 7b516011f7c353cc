/*
 * encode for long texts. The merge loop of llama2/tokenizer.ts, which is run.c's, looks at all pairs for every merge and
 * so takes n^2 time; this one takes n log n and gives the same tokens.
 */
import { BOS, EOS, encode as encodeWith, strLookup, type Tokenizer, WORST_SCORE } from "./llama2/tokenizer.ts";

/** A tokenizer that may change text before encoding it, as those of other programs do. */
export interface PreparingTokenizer extends Tokenizer {
  /**
   * Splits a text into what is encoded instead: parts of it, and the tokens for what was between them. Absent: as run.c
   * does it, one space before the text and no other change.
   */
  prepare?: (text: string) => (string | number)[];
  /** `prepare` adds no space before a text, so decoding must not remove one. */
  ownFirstSpace?: boolean;
}

/**
 * The tokens of `text`, UTF-8 as a byte string; `bos` and `eos` ask for those tokens around it.
 */
export function encode(t: PreparingTokenizer, text: string, bos: boolean, eos: boolean): number[] {
  if (!t.prepare) return encodeWith(t, text, bos, eos, mergePairs);
  const tokens: number[] = bos ? [BOS] : [];
  for (const part of t.prepare(text)) {
    // without the first token: the space that run.c puts before every text
    const some = typeof part === "number" ? [part] : encodeRest(t, part);
    for (const token of some) tokens.push(token);
  }
  if (eos) tokens.push(EOS);
  return tokens;
}

/** The tokens of text that continues other text: without the space that comes before a whole one. */
export function encodeRest(t: Tokenizer, text: string): number[] {
  return encodeWith(t, text, false, false, (t, all) => mergePairs(t, all.slice(1)));
}

/**
 * Merge the neighbours whose joint piece has the best score, the leftmost ones on a tie, until no neighbours make a
 * piece.
 *
 * A merge changes only the pairs beside it, so the candidates are kept in a heap, best first, and the tokens in a linked
 * list. A candidate is stale, and is skipped, once one of its two tokens has become part of a longer one: its piece is
 * then shorter than the two together.
 */
function mergePairs(t: Tokenizer, tokens: number[]): number[] {
  const next = tokens.map((_, i) => i + 1); // the index of the token to the right
  const prev = tokens.map((_, i) => i - 1); // and to the left
  const length = (i: number) => t.vocab[tokens[i]].length;
  const heap = new Candidates(t.vocabScores);

  const consider = (left: number) => {
    const right = next[left];
    if (left < 0 || right >= tokens.length) return;
    const id = strLookup(t, t.vocab[tokens[left]] + t.vocab[tokens[right]]);
    if (id !== -1 && t.vocabScores[id] > WORST_SCORE) heap.push(left, id);
  };

  for (let i = 0; i + 1 < tokens.length; i++) consider(i);
  for (let best = heap.pop(); best; best = heap.pop()) {
    const { left, id } = best;
    const right = next[left];
    if (tokens[left] === GONE || right >= tokens.length) continue;
    if (length(left) + length(right) !== t.vocab[id].length) continue;
    // merge the pair into the new token id, and take the right one out of the list
    tokens[left] = id;
    tokens[right] = GONE;
    next[left] = next[right];
    if (next[right] < tokens.length) prev[next[right]] = left;
    consider(prev[left]);
    consider(left);
  }
  return tokens.filter((token) => token !== GONE);
}

/** Marks a token that has been merged into its left neighbour. */
const GONE = -1;

/** A binary heap of candidate merges: the best score on top, of equal ones the leftmost. */
class Candidates {
  private readonly scores: Float32Array;
  private readonly lefts: number[] = [];
  private readonly ids: number[] = [];

  constructor(scores: Float32Array) {
    this.scores = scores;
  }

  push(left: number, id: number): void {
    let i = this.lefts.push(left) - 1;
    this.ids.push(id);
    for (let parent = (i - 1) >> 1; i > 0 && this.better(i, parent); parent = (i - 1) >> 1) {
      this.swap(i, parent);
      i = parent;
    }
  }

  pop(): { left: number; id: number } | undefined {
    const last = this.lefts.length - 1;
    if (last < 0) return undefined;
    this.swap(0, last);
    const left = this.lefts.pop() as number;
    const id = this.ids.pop() as number;
    for (let i = 0; ; ) {
      let best = i;
      for (const child of [2 * i + 1, 2 * i + 2]) {
        if (child < last && this.better(child, best)) best = child;
      }
      if (best === i) return { left, id };
      this.swap(i, best);
      i = best;
    }
  }

  private better(i: number, j: number): boolean {
    const a = this.scores[this.ids[i]];
    const b = this.scores[this.ids[j]];
    return a > b || (a === b && this.lefts[i] < this.lefts[j]);
  }

  private swap(i: number, j: number): void {
    [this.lefts[i], this.lefts[j]] = [this.lefts[j], this.lefts[i]];
    [this.ids[i], this.ids[j]] = [this.ids[j], this.ids[i]];
  }
}
