/*
 * How many of its threads a backend lets work together.
 *
 * Threads that share a forward pass wait for each other tens of times a token. If something else keeps one of their
 * processors busy, all stand still until the system gives the late one a turn, and many together are slower than few.
 * So a backend reports how long each pass took, and for how much of it one of the team waited for another that was
 * late. A team that loses too much gets smaller. After a while it tries again: soon at first, later and later while the
 * trials fail.
 *
 * Only durations are counted here, no clock is read. The bits of a pass do not depend on the size of the team.
 */

/** The passes that are judged are those of about the last so many milliseconds: a few turns of the system's scheduler. */
const WINDOW_MS = 10;

/** The share of that time which may be lost. Two threads that stand still for half of it are as slow as one. */
const MAY_BE_LOST = 1 / 3;

/** For so many milliseconds of passes a team stays small: the first time, and at the most. */
const FIRST_REST_MS = 20;
const LONGEST_REST_MS = 2000;

/** A team that has grown, and is late again before so many milliseconds of passes, has failed the trial. */
const TRIAL_MS = 100;

export class Team {
  readonly most: number;
  private members: number;
  private ms = 0; // of passes, the older ones counting less and less
  private lateMs = 0;
  private sinceChangeMs = 0; // of all passes since the team has had this size
  private restMs = FIRST_REST_MS;

  /** @param most how many threads there are */
  constructor(most: number) {
    this.most = most;
    this.members = most;
  }

  /** How many are to work on the next pass, 1 to `most`. */
  get size(): number {
    return this.members;
  }

  /**
   * A pass of `size` threads is over.
   * @param ms how long it took
   * @param lateMs for how much of that one of the team waited for another that was late
   */
  ran(ms: number, lateMs: number): void {
    this.ms += ms;
    this.lateMs += lateMs;
    this.sinceChangeMs += ms;
    if (this.lateMs > MAY_BE_LOST * Math.max(this.ms, WINDOW_MS)) {
      this.restMs = this.sinceChangeMs < TRIAL_MS ? Math.min(2 * this.restMs, LONGEST_REST_MS) : FIRST_REST_MS;
      this.change(this.members - Math.ceil(this.members / 4));
    } else if (this.members < this.most && this.sinceChangeMs > this.restMs) {
      this.change(Math.min(this.members + Math.ceil(this.members / 3), this.most));
    } else if (this.ms > WINDOW_MS) {
      this.ms /= 2;
      this.lateMs /= 2;
    }
  }

  private change(members: number): void {
    this.members = Math.max(1, members);
    this.ms = 0;
    this.lateMs = 0;
    this.sinceChangeMs = 0;
  }
}
