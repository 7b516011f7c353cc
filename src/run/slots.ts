/*
 * The slots: the places for sequences in a context's KV cache, and which tokens each holds.
 *
 * What a sequence has read stays until its slot is needed. A new sequence that begins with the same tokens, such as the
 * next turn of a chat, continues from there. If the backend can copy, a prompt that is read once serves any number of
 * sequences.
 */
import type { Context, LoadedModel } from "../backend/backend.ts";
import { isOutOfMemory } from "./failure.ts";

/** One slot: it holds `tokens[0]` to `tokens[held - 1]`. While it is taken, `tokens` grows with its sequence. */
export interface Slot {
  readonly index: number;
  tokens: readonly number[];
  held: number;
  taken: boolean;
  lastUsed: number;
}

/** This many slots are filled before one that holds something else is overwritten: a few chats can take turns. */
const KEPT = 8;

export class Slots {
  /** How many sequences can be live at once, as far as is known. */
  limit: number;
  private readonly model: LoadedModel;
  private readonly slots: Slot[] = []; // those that have been used
  private current: Context | undefined;
  private capacity = 0; // of the current context
  private clock = 0;

  constructor(model: LoadedModel, limit: number) {
    this.model = model;
    this.limit = limit;
  }

  /** The context that has the slots. It exists once a slot has been taken. */
  get context(): Context {
    if (!this.current) throw new Error("no slot has been taken yet");
    return this.current;
  }

  /** Whether no slot can be taken. */
  get full(): boolean {
    return this.slots.length >= this.limit && this.slots.every(({ taken }) => taken);
  }

  /**
   * Take a slot for a sequence that begins with `tokens`. What the slot holds of them already, at most `most`, is its
   * `held`; the rest must be read.
   * @param demand how many sequences there are, live or waiting
   * @returns undefined if the sequence should wait: until a slot is free, or until another has read what they share
   * @throws the backend's error if there is no room for a single sequence
   */
  take(tokens: readonly number[], most: number, demand: number): Slot | undefined {
    const free = this.slots.filter(({ taken }) => !taken);
    if (free.length === 0 && this.slots.length >= this.limit) return undefined;
    const copies = this.current?.copy !== undefined;
    const [best, shared] = longestPrefix(copies ? this.slots : free, tokens, most);
    if (copies && this.isBeingRead(tokens, most, shared + 2)) return undefined;

    // its best slot, unless that would lose much else; then an unused slot, while there are few; then the oldest
    const stays = best && !best.taken && (copies ? 2 * shared >= best.held : shared > 1);
    const mayAdd = free.length === 0 || this.slots.length < Math.min(KEPT, this.limit);
    const slot = stays ? best : (mayAdd && this.add(demand)) || oldest(free);
    if (!slot) return undefined;
    let held = Math.min(shared, best?.held ?? 0); // a larger context has been opened if best holds less now
    if (best && slot !== best && held > 0) {
      if (copies) this.context.copy?.(best.index, slot.index, held);
      else held = 0;
    }
    return Object.assign(slot, { tokens, held, taken: true });
  }

  /** Its sequence has ended. What it holds may serve another. */
  release(slot: Slot): void {
    if (!slot.taken) throw new Error(`slot ${slot.index} is not taken`);
    slot.taken = false;
    slot.lastUsed = ++this.clock;
  }

  /** What a slot holds must not be used again. */
  forget(slot: Slot): void {
    slot.held = 0;
  }

  dispose(): void {
    this.current?.dispose();
    this.current = undefined;
    this.capacity = 0;
    this.slots.length = 0;
  }

  /** Whether a live sequence is about to read at least `atLeast` of the first `most` tokens. */
  private isBeingRead(tokens: readonly number[], most: number, atLeast: number): boolean {
    return this.slots.some(
      (slot) => slot.taken && most >= atLeast && commonPrefix(slot.tokens, tokens, most) >= atLeast,
    );
  }

  /** An unused slot, if there is room for one. */
  private add(demand: number): Slot | undefined {
    if (this.slots.length === this.capacity) this.grow(demand);
    if (this.slots.length === this.capacity) return undefined;
    const slot = { index: this.slots.length, tokens: [], held: 0, taken: false, lastUsed: 0 };
    this.slots.push(slot);
    return slot;
  }

  /**
   * Replace the context by a larger one, since a context cannot grow. The live sequences must read their tokens again.
   * If memory is taken only as slots are filled, the first context has room for all of them; if it is taken at once, the
   * room at least doubles each time.
   */
  private grow(demand: number): void {
    const wanted = this.model.reserves ? Math.max(demand, 2 * this.capacity) : this.limit;
    let capacity = Math.min(this.limit, wanted);
    while (capacity > this.capacity) {
      try {
        const context = this.model.openContext(capacity);
        this.current?.dispose();
        this.current = context;
        this.capacity = capacity;
        for (const slot of this.slots) slot.held = 0;
        return;
      } catch (error) {
        if (capacity === 1 || !isOutOfMemory(error)) throw error;
        capacity = Math.floor((capacity + this.capacity) / 2);
        this.limit = Math.max(1, capacity);
      }
    }
  }
}

/** The slot that holds the most of `tokens`, and how many, up to `most`. On a tie, a free one. */
function longestPrefix(slots: readonly Slot[], tokens: readonly number[], most: number): [Slot | undefined, number] {
  let best: Slot | undefined;
  let shared = 0;
  for (const slot of slots) {
    const common = commonPrefix(slot.tokens, tokens, Math.min(slot.held, most));
    if (common > shared || (common === shared && (!best || (best.taken && !slot.taken))))
      [best, shared] = [slot, common];
  }
  return [best, shared];
}

/** The one that has been free for the longest time. */
function oldest(free: readonly Slot[]): Slot | undefined {
  if (free.length === 0) return undefined;
  return free.reduce((first, other) => (other.lastUsed < first.lastUsed ? other : first));
}

/** How many of the first tokens are the same, at most `most`. */
function commonPrefix(a: readonly number[], b: readonly number[], most: number): number {
  const end = Math.min(a.length, b.length, most);
  let i = 0;
  while (i < end && a[i] === b[i]) i++;
  return i;
}
