/*
 * How long passes take on this machine, by the number of tokens they read: measured as they run.
 */

/** Tokens of a pass, in classes: any other width counts as the next wider one. */
const WIDTHS = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128];
/** A cost not measured again is taken to fall by this share with each pass, so that its width is tried again. */
const AGEING = 0.0002;
/** After this many passes it counts as unknown: the machine may have been busy then, or the code cold. */
const FORGOTTEN = 3000;
/** A cost is known after this many passes. It is the fastest one's: the others may have been held up. */
export const TRIES = 3;
/** A pass twice as wide as any known one is assumed to cost this share more. Little, so that it is tried. */
const UNKNOWN = 0.15;
/** A pass that took longer than the known cost counts as at most this many times that cost. */
export const HELD_UP = 2;

/** A running average of durations with one more sample; shorter ones weigh more. `known` is 0 before the first. */
export function steadied(known: number, ms: number): number {
  if (known === 0) return ms;
  return ms < known ? (known + ms) / 2 : known + (Math.min(ms, HELD_UP * known) - known) / 8;
}

/** What a pass costs, by its width. */
export class PassCosts {
  private readonly ms = new Float64Array(WIDTHS.length);
  private readonly samples = new Float64Array(WIDTHS.length);
  private readonly when = new Float64Array(WIDTHS.length); // when each was last measured, in passes
  private passes = 0;

  /** Record that a pass of `rows` tokens took `ms` milliseconds. */
  note(rows: number, ms: number): void {
    const width = widthOf(rows);
    if (this.passes - this.when[width] >= FORGOTTEN) this.samples[width] = 0;
    const known = this.ms[width];
    const samples = ++this.samples[width];
    if (samples > TRIES) this.ms[width] = steadied(known, ms);
    else this.ms[width] = samples === 1 ? ms : Math.min(known, ms);
    this.passes++;
    this.when[width] = this.passes;
  }

  /** There was a pass that says nothing about costs. */
  skip(): void {
    this.passes++;
  }

  /** The estimated cost of a pass of `rows` tokens, in milliseconds; 0 while nothing is known. */
  of(rows: number): number {
    const width = widthOf(rows);
    let above = width;
    while (above < WIDTHS.length && !this.isKnown(above)) above++;
    let below = width;
    while (below >= 0 && !this.isKnown(below)) below--;
    if (above === below) return this.aged(above);
    if (below < 0) return above < WIDTHS.length ? this.aged(above) : 0;
    if (above === WIDTHS.length) return this.aged(below) * (1 + UNKNOWN * (rows / WIDTHS[below] - 1));
    const share = (WIDTHS[width] - WIDTHS[below]) / (WIDTHS[above] - WIDTHS[below]);
    return this.aged(below) + share * (this.aged(above) - this.aged(below));
  }

  /** What passes of `rows` tokens have cost lately, in milliseconds; 0 if that is not known. */
  measured(rows: number): number {
    const width = widthOf(rows);
    return this.isKnown(width) ? this.ms[width] : 0;
  }

  /** The widest pass to try where `plain` tokens are read anyway: twice the widest known, at least `plain` + 1. */
  widestToTry(plain: number): number {
    let width = WIDTHS.length - 1;
    while (width >= 0 && !this.isKnown(width)) width--;
    return Math.max(plain + 1, width < 0 ? 0 : 2 * WIDTHS[width]);
  }

  private isKnown(width: number): boolean {
    return this.samples[width] >= TRIES && this.passes - this.when[width] < FORGOTTEN;
  }

  private aged(width: number): number {
    return this.ms[width] * (1 - AGEING * (this.passes - this.when[width]));
  }
}

function widthOf(rows: number): number {
  let width = 0;
  while (width < WIDTHS.length - 1 && WIDTHS[width] < rows) width++;
  return width;
}
