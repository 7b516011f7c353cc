/*
 * Decides how many of a backend's threads work on a pass.
 *
 * Threads that share a forward pass wait for each other tens of times per token. If another program keeps one of their
 * processors busy, all of them wait until the system schedules the late one, and many threads are slower than few. So a
 * backend reports how long each pass took, and for how long a thread waited for a late one. A team that loses too much
 * time gets smaller. After a while it tries again: soon at first, then less and less often while the trials fail.
 *
 * This code reads no clock, it only adds up durations. The bits of a pass do not depend on the size of the team.
 */

/** How many milliseconds of recent passes are judged: a few time slices of the system's scheduler. */
const WINDOW_MS = 10;

/** The share of that time that may be lost. Two threads that wait for half of it are as slow as one. */
const MAY_BE_LOST = 1 / 3;

/** For how many milliseconds of passes a team stays small: at first, and at most. */
const FIRST_REST_MS = 5;
const LONGEST_REST_MS = 2000;

/** If a team that has grown loses too much again within this many milliseconds of passes, the trial has failed. */
const TRIAL_MS = 100;

export class Team {
  readonly most: number;
  private members: number;
  private ms = 0; // of passes; older ones count less and less
  private lateMs = 0;
  private sinceChangeMs = 0; // of all passes since the last change of size
  private restMs = FIRST_REST_MS;

  /** @param most how many threads there are */
  constructor(most: number) {
    this.most = most;
    this.members = most;
  }

  /** How many threads should work on the next pass, 1 to `most`. */
  get size(): number {
    return this.members;
  }

  /**
   * Record a pass of `size` threads.
   * @param ms how long it took
   * @param lateMs for how much of that a thread waited for a late one
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
