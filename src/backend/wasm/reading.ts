/*
 * How many panels of a matrix a pass for a single token reads at once: one, or two side by side.
 *
 * Which is faster depends on the processor, and WebAssembly does not say which one it runs on: on Intel's Sapphire Rapids
 * two are 1.2 times as fast, on AMD's Zen 4 they take 1.7 times as long. So the first passes try both in turn, and then a
 * few more and more rarely. The bits are the same.
 */

/** By then the engine has optimized the kernels; before, both ways are about as fast. */
const WARM_MS = 20;
/** Both ways are tried again after so many passes, and after each doubling. */
const FIRST_TRIAL = 32;
/** How many passes that takes, half of them each way. */
const TRIAL = 4;

export class Reading {
  private passes = 0;
  private ms = 0; // of all passes
  private readonly fastest = [Infinity, Infinity]; // milliseconds of a pass with one panel, and with two

  /** How many panels the next pass should read at once: 1 or 2. */
  get panels(): number {
    if (this.ms < WARM_MS || this.sinceTrial() < TRIAL) return 1 + (this.passes % 2);
    return this.fastest[0] <= this.fastest[1] ? 1 : 2;
  }

  /** Record that it took so many milliseconds. */
  ran(ms: number): void {
    if (this.sinceTrial() === 0) this.fastest.fill(Infinity);
    if (this.ms < WARM_MS || this.sinceTrial() < TRIAL) {
      this.fastest[this.passes % 2] = Math.min(this.fastest[this.passes % 2], ms);
    }
    this.passes++;
    this.ms += ms;
  }

  /** How many passes there have been since a trial began; Infinity before the first. */
  private sinceTrial(): number {
    if (this.passes < FIRST_TRIAL) return Infinity;
    return this.passes - 2 ** Math.floor(Math.log2(this.passes));
  }
}
