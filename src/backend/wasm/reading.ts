/*
 * How many panels of a matrix a pass for a single token reads at once: one, or two side by side.
 *
 * Which is faster depends on the processor, and WebAssembly does not say which one it runs on: on Intel's Sapphire Rapids
 * two are 1.2 times as fast, on AMD's Zen 4 they take 1.7 times as long. So some passes try both, first when the kernels
 * have been optimized, and then more and more rarely. The bits are the same.
 */

/** The first passes tell nothing: the engine has not optimized the kernels yet. */
const FIRST_TRIAL = 64; // passes; a power of two, as those of the trials after it
/** How many passes a trial takes, half of them each way. */
const TRIAL = 6;

export class Reading {
  private passes = 0;
  private best = 1;
  private readonly fastest = [Infinity, Infinity]; // milliseconds of a pass in this trial

  /** How many panels the next pass should read at once: 1 or 2. */
  get panels(): number {
    return this.inTrial() < TRIAL ? 1 + (this.passes % 2) : this.best;
  }

  /** Record that it took so many milliseconds. */
  ran(ms: number): void {
    const pass = this.inTrial();
    if (pass === 0) this.fastest.fill(Infinity);
    if (pass < TRIAL) this.fastest[this.passes % 2] = Math.min(this.fastest[this.passes % 2], ms);
    if (pass === TRIAL - 1) this.best = this.fastest[0] <= this.fastest[1] ? 1 : 2;
    this.passes++;
  }

  /** How many passes there have been since the last trial began; Infinity before the first. */
  private inTrial(): number {
    if (this.passes < FIRST_TRIAL) return Infinity;
    return this.passes - 2 ** Math.floor(Math.log2(this.passes));
  }
}
