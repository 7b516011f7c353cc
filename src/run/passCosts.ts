/*
 * What passes cost on this machine, by how many tokens they read: measured while they run.
 */

/** Widths that are told apart. A pass of another counts for the next wider one. */
const WIDTHS = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128];
/** By this share a cost that is not measured again seems lower after each pass, until somebody tries it. */
const AGEING = 0.0005;
const MOST_AGED = 0.5;
/** A pass twice as wide as any known is thought to cost so much more: little, so that it is tried. */
const UNKNOWN = 0.15;
/** The machine may have held up a pass: at most so many times what was thought is believed. */
const HELD_UP = 2;

/**
 * A duration as it was known after `samples`, and with one more: what is shorter counts for half, what is longer for
 * less the more is known. 0: unknown.
 */
export function steadied(known: number, ms: number, samples = 8): number {
  if (known === 0) return ms;
  if (ms < known) return (known + ms) / 2;
  return known + (Math.min(ms, HELD_UP * known) - known) / Math.min(8, samples + 1);
}

export class PassCosts {
  private readonly ms = new Float64Array(WIDTHS.length); // 0: unknown
  private readonly samples = new Float64Array(WIDTHS.length);
  private readonly when = new Float64Array(WIDTHS.length); // the last time, in passes
  private passes = 0;

  /** A pass of `rows` tokens took `ms`. */
  note(rows: number, ms: number): void {
    const width = widthOf(rows);
    this.ms[width] = steadied(this.ms[width] || this.of(rows), ms, this.samples[width]++);
    this.passes++;
    this.when[width] = this.passes;
  }

  /** What one of `rows` tokens would cost, in milliseconds; 0 as long as nothing is known. */
  of(rows: number): number {
    const width = widthOf(rows);
    let above = width;
    while (above < WIDTHS.length && this.ms[above] === 0) above++;
    let below = width;
    while (below >= 0 && this.ms[below] === 0) below--;
    if (above === below) return this.aged(above);
    if (below < 0) return above < WIDTHS.length ? this.aged(above) : 0;
    if (above === WIDTHS.length) return this.aged(below) * (1 + UNKNOWN * (rows / WIDTHS[below] - 1));
    const share = (WIDTHS[width] - WIDTHS[below]) / (WIDTHS[above] - WIDTHS[below]);
    return this.aged(below) + share * (this.aged(above) - this.aged(below));
  }

  /** How wide a pass may be, where `plain` tokens are read anyway: what has been tried, and as much again. */
  widestToTry(plain: number): number {
    let width = WIDTHS.length - 1;
    while (width >= 0 && this.ms[width] === 0) width--;
    return Math.max(plain + 1, width < 0 ? 0 : 2 * WIDTHS[width]);
  }

  private aged(width: number): number {
    return this.ms[width] * (1 - Math.min(MOST_AGED, AGEING * (this.passes - this.when[width])));
  }
}

function widthOf(rows: number): number {
  let width = 0;
  while (width < WIDTHS.length - 1 && WIDTHS[width] < rows) width++;
  return width;
}
