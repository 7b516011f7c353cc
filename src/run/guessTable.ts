/*
 * What usually comes next: for contexts of the last one to eight tokens, the token that followed most often.
 *
 * A model of 260,000 weights generates a token in 45 microseconds, and guessing may take a few percent of that. So all
 * is in one array of integers, without objects. An entry is a context's hash in two parts, a token, and how often it was
 * seen. First come the entries of a file, sorted as they are there; then a hash table of all others.
 */
import { ENTRY, type GuessEntries } from "./guessFile.ts";

const START = 4096; // places of a new table, 64 KiB
const PLACE = ENTRY; // integers: hash low, hash high, token, times; times is 0 where a place is free
const HIGHS = 16; // the high part of a hash is less
const REACH = 16; // an entry is in one of this many places, from the one its hash points to; most are in the first two

export interface GuessTableOptions {
  longest?: number; // tokens of the longest context
  maxBytes?: number; // the table doubles up to this size; then new entries replace rare ones
}

/** For each known context, the token that most often followed it. It learns as it goes, in bounded memory. */
export class GuessTable {
  /** Tokens of the longest context. */
  longest: number;
  /** Set by `find`: the length of the context that matched, in tokens, and how often its token was seen. */
  matched = 0;
  times = 0;
  private count = 0;
  private hasGaps = false; // a context may be known though a shorter one is not
  private places: Int32Array; // the entries of a file, then the hash table
  private filed = 0; // integers of the former
  private starts = new Int32Array(2 * HIGHS + 1); // where the entries of each bucket begin; a bucket: see bucketOf
  private bits = 1; // of a hash's low part that choose its bucket
  private mask: number; // places of the hash table to start from - 1
  private maxPlaces: number;
  // Set by `walk`: the hashes of the contexts of 1, 2, ... tokens.
  private low: Int32Array;
  private high: Int32Array;

  constructor({ longest = 8, maxBytes = 16 * 1024 * 1024 }: GuessTableOptions = {}) {
    this.longest = longest;
    this.low = new Int32Array(longest);
    this.high = new Int32Array(longest);
    this.maxPlaces = 2 ** Math.floor(Math.log2(Math.max(1, maxBytes / (4 * PLACE))));
    const places = Math.min(START, this.maxPlaces);
    this.mask = places - 1;
    this.places = newPlaces(0, places);
  }

  get entries(): number {
    return this.count;
  }

  /**
   * The token that came most often after the last tokens of tokens[0 .. end), by the longest known context; -1: none.
   * If that context was seen only once, a shorter one that was seen more often is better evidence, and is used instead.
   */
  find(tokens: ArrayLike<number>, end: number): number {
    let found = -1;
    this.matched = 0;
    this.times = 0;
    for (let length = this.walk(tokens, end); length > 0; length--) {
      const at = this.at(this.low[length - 1], this.high[length - 1]);
      if (at < 0) continue;
      const times = this.places[at + 3];
      if (found < 0 || times > 1) {
        found = at;
        this.matched = length;
        this.times = times;
      }
      if (times > 1 || this.matched > length) break;
    }
    return found < 0 ? -1 : this.places[found + 2];
  }

  /**
   * Learn that tokens[at] followed tokens[0 .. at). A context is added only if the one shorter by a token is known, so
   * text that is seen once adds one entry and not eight.
   */
  learn(tokens: ArrayLike<number>, at: number): void {
    const token = tokens[at];
    const most = this.walk(tokens, at);
    for (let length = 1, known = true; length <= most && (known || this.hasGaps); length++) {
      const entry = this.at(this.low[length - 1], this.high[length - 1]);
      if (entry >= 0) this.vote(entry, token);
      else if (known) this.put(this.low[length - 1], this.high[length - 1], token, 1);
      known = entry >= 0;
    }
  }

  /**
   * Take in the entries of a file, sorted as `parseGuesses` returns them. Contexts that are known already are merged.
   *
   * The entries stay sorted, and it is only noted where those whose hashes begin alike are. So 28,000 take 0.6 ms, and 2 ms
   * in code that is not compiled yet; to put each into the hash table would take 3 and 14.
   */
  add({ longest, entries }: GuessEntries): void {
    if (longest > this.longest) {
      this.longest = longest;
      this.low = new Int32Array(longest);
      this.high = new Int32Array(longest);
    }
    this.hasGaps = true;
    const known = this.places;
    this.places = newPlaces(entries.length, this.mask + 1);
    this.places.set(entries);
    this.filed = entries.length;
    this.count = entries.length / PLACE;
    this.bits = Math.max(1, Math.floor(Math.log2(this.count / HIGHS)));
    this.starts = new Int32Array((HIGHS << this.bits) + 1).fill(entries.length);
    let bucket = 0;
    for (let at = 0; at < entries.length; at += PLACE) {
      if (entries[at + 1] >>> 0 >= HIGHS) break; // no context has such a hash
      const own = this.bucketOf(entries[at], entries[at + 1]);
      while (bucket <= own) this.starts[bucket++] = at;
    }
    for (let at = 0; at < known.length; at += PLACE) {
      if (known[at + 3] === 0) continue;
      const filed = this.inFile(known[at], known[at + 1]);
      if (filed < 0) this.put(known[at], known[at + 1], known[at + 2], known[at + 3]);
      else this.merge(filed, known[at + 2], known[at + 3]);
    }
  }

  /** Add an entry whose context is not in the table. If that is full, it replaces a rarer entry, or is dropped. */
  put(low: number, high: number, token: number, times: number): void {
    let rarest = -1;
    const from = this.filed + (low & this.mask) * PLACE;
    for (let at = from; at < from + REACH * PLACE; at += PLACE) {
      if (this.places[at + 3] === 0) {
        this.fill(at, low, high, token, times);
        this.count++;
        return;
      }
      if (rarest < 0 || this.places[at + 3] < this.places[rarest + 3]) rarest = at;
    }
    if (this.mask + 1 < this.maxPlaces) {
      this.resize(2 * (this.mask + 1));
      this.put(low, high, token, times);
    } else if (this.places[rarest + 3] <= times) {
      this.fill(rarest, low, high, token, times);
      this.hasGaps = true;
    } else this.places[rarest + 3]--; // each failed attempt ages it, so stale entries are replaced in time
  }

  /** All entries, in no order. */
  forEach(entry: (low: number, high: number, token: number, times: number) => void): void {
    const places = this.places;
    for (let at = 0; at < places.length; at += PLACE) {
      if (places[at + 3] !== 0) entry(places[at], places[at + 1], places[at + 2], places[at + 3]);
    }
  }

  /** Hash the contexts of tokens[0 .. end), from the newest token backwards. Returns how many there are. */
  private walk(tokens: ArrayLike<number>, end: number): number {
    const most = Math.min(end, this.longest);
    let low = 0;
    let high = 0;
    for (let i = 0; i < most; i++) {
      low = hashLow(low, tokens[end - 1 - i]);
      high = hashHigh(high, tokens[end - 1 - i]);
      this.low[i] = low;
      this.high[i] = high;
    }
    return most;
  }

  /** The index of a context's entry in `places`, or -1. */
  private at(low: number, high: number): number {
    const places = this.places;
    const from = this.filed + (low & this.mask) * PLACE;
    for (let at = from; at < from + REACH * PLACE; at += PLACE) {
      if (places[at + 3] === 0) break;
      if (places[at] === low && places[at + 1] === high) return at;
    }
    return this.inFile(low, high);
  }

  /** The same, of an entry that came from a file. */
  private inFile(low: number, high: number): number {
    const { places, starts } = this;
    const bucket = this.bucketOf(low, high);
    const from = starts[bucket];
    const end = Math.min(starts[bucket + 1], from + REACH * PLACE); // there are one or two, unless somebody chose them
    for (let at = from; at < end; at += PLACE) {
      if (places[at] === low && places[at + 1] === high) return at;
    }
    return -1;
  }

  /** Where hashes that begin alike are: `high`, then the first bits of `low`, in the order of the file. */
  private bucketOf(low: number, high: number): number {
    return (high << this.bits) | (low >>> (32 - this.bits));
  }

  /** A vote for `token` (Boyer and Moore's majority vote): the leading one stays until others have as many. */
  private vote(at: number, token: number): void {
    const places = this.places;
    if (places[at + 2] === token) {
      if (places[at + 3] < 0x7fffffff) places[at + 3]++;
    } else if (places[at + 3] > 1) places[at + 3]--;
    else places[at + 2] = token;
  }

  /** As `times` votes for `token`, which many votes for another one outweigh. */
  private merge(at: number, token: number, times: number): void {
    const known = this.places[at + 3];
    if (this.places[at + 2] === token) this.places[at + 3] = Math.min(known + times, 0x7fffffff);
    else if (known >= times) this.places[at + 3] = Math.max(1, known - times);
    else this.fill(at, this.places[at], this.places[at + 1], token, times - known);
  }

  private fill(at: number, low: number, high: number, token: number, times: number): void {
    this.places[at] = low;
    this.places[at + 1] = high;
    this.places[at + 2] = token;
    this.places[at + 3] = times;
  }

  private resize(places: number): void {
    const old = this.places;
    this.places = newPlaces(this.filed, places);
    this.places.set(old.subarray(0, this.filed));
    this.mask = places - 1;
    this.count = this.filed / PLACE;
    for (let at = this.filed; at < old.length; at += PLACE) {
      if (old[at + 3] !== 0) this.put(old[at], old[at + 1], old[at + 2], old[at + 3]);
    }
  }
}

function newPlaces(filed: number, places: number): Int32Array {
  return new Int32Array(filed + (places + REACH - 1) * PLACE); // so that the last place, too, has REACH places after it
}

/**
 * The two parts of a context's hash, extended by one token that is older than all others. An empty context has 0.
 * 36 bits are enough to tell contexts apart, and compress to half the size of 64.
 */
export function hashLow(low: number, token: number): number {
  const hash = Math.imul(low ^ (token + 1), 0x2c1b3c6d);
  return hash ^ (hash >>> 15);
}
export const hashHigh = (high: number, token: number): number => Math.imul(high + token + 1, 0x297a2d39) >>> 28;
