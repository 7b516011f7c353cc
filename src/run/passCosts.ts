/*
 * What passes cost on this machine, by how many tokens they read: measured while they run.
 */

/** Widths that are told apart. A pass of another counts for the next wider one. */
const WIDTHS = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128];
/** By this share a cost that is not measured again seems lower after each pass, until somebody tries it. */
const AGEING = 0.0002;
/** After so many passes it is unknown again: the machine may have been busy, or the code cold. */
const FORGOTTEN = 3000;
/** The machine may hold up a pass: a cost is believed after so many, of which the fastest counts. */
const TRIES = 3;
/** A pass twice as wide as any known is thought to cost so much more: little, so that it is tried. */
const UNKNOWN = 0.15;
/** And of one that took longer than was known, at most so many times as much is believed. */
const HELD_UP = 2;

/** A duration as it was known, 0 if it was not, and with one more sample: what is shorter counts for more. */
export function steadied(known: number, ms: number): number {
  if (known === 0) return ms;
  return ms < known ? (known + ms) / 2 : known + (Math.min(ms, HELD_UP * known) - known) / 8;
}

export class PassCosts {
  private readonly ms = new Float64Array(WIDTHS.length);
  private readonly samples = new Float64Array(WIDTHS.length);
  private readonly when = new Float64Array(WIDTHS.length); // the last time, in passes
  private passes = 0;

  /** A pass of `rows` tokens took `ms`. */
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

  /** What one of `rows` tokens would cost, in milliseconds; 0 as long as nothing is known. */
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

  /** How wide a pass may be, where `plain` tokens are read anyway: what has been tried, and as much again. */
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
