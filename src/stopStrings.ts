/*
 * Cuts a text, which comes in pieces of any size, at the first of some strings.
 */

/** Finds the strings that end a text. What may be the beginning of one is held back. */
export class StopStrings {
  /** Whether one has been found. Nothing follows. */
  found = false;
  private readonly stops: readonly string[];
  private held = "";

  constructor(stops: readonly string[]) {
    this.stops = stops;
  }

  /** What can be shown after `text`. The stop string that is completed first ends it, wherever pieces end. */
  push(text: string): string {
    if (this.found || this.stops.length === 0) return this.found ? "" : text;
    const all = this.held + text;
    let start = -1;
    let end = Infinity;
    for (const stop of this.stops) {
      const at = all.indexOf(stop);
      if (at === -1 || at + stop.length > end || (at + stop.length === end && at > start)) continue;
      start = at;
      end = at + stop.length;
    }
    this.found = start !== -1;
    const shown = this.found ? start : all.length - this.begun(all);
    this.held = this.found ? "" : all.slice(shown);
    return all.slice(0, shown);
  }

  /** What was held back, once no more text comes. */
  end(): string {
    const rest = this.held;
    this.held = "";
    return rest;
  }

  /** How many of the last characters may be the beginning of a stop string. */
  private begun(text: string): number {
    let longest = 0;
    for (const stop of this.stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
