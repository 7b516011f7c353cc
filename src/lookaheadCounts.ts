/*
 * How well the tokens of texts were guessed ahead.
 */
import type { GuessCounts } from "./run/protocol.ts";

/** What guessing ahead brought. */
export interface LookaheadCounts extends GuessCounts {
  /** Tokens generated per pass over the weights. */
  tokensPerPass: number;
}

export function lookaheadOf(counts: GuessCounts | undefined): LookaheadCounts | undefined {
  if (!counts || counts.passes === 0) return undefined;
  return { ...counts, tokensPerPass: (counts.passes + counts.accepted) / counts.passes };
}

/** The counts of several texts together. */
export function totalOf(all: readonly GuessCounts[]): GuessCounts {
  const total = { passes: 0, guessed: 0, accepted: 0 };
  for (const { passes, guessed, accepted } of Object.values(all)) {
    total.passes += passes;
    total.guessed += guessed;
    total.accepted += accepted;
  }
  return total;
}
