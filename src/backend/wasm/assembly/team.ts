/*
 * The threads that work on one forward pass together. All run the same code, each on its share; where one needs
 * what another has written, all meet at a barrier first.
 *
 * The build without shared memory has one thread and no barriers.
 */
import { meeting, patience, threads } from "./model";

/** The words of the place where they meet, i32 that are zero at first. */
const ARRIVED: usize = 0; // how many wait at the barrier. The first: whoever starts threads looks at it (kernels.ts)
const ROUND: usize = 4; // how many times all have met
const SLEEPING: usize = 8; // how many sleep until the round is over

/** Wait here until all threads have come. What they wrote before, everyone can read after. */
export function barrier(): void {
  if (!ASC_FEATURE_THREADS || threads === 1) return;
  const round = atomic.load<i32>(meeting, ROUND);
  if (atomic.add<i32>(meeting, 1, ARRIVED) + 1 === threads) {
    atomic.store<i32>(meeting, 0, ARRIVED);
    atomic.add<i32>(meeting, 1, ROUND);
    if (atomic.load<i32>(meeting, SLEEPING) > 0) atomic.notify(meeting + ROUND, -1);
    return;
  }
  for (let i = 0; i < patience; i++) {
    if (atomic.load<i32>(meeting, ROUND) !== round) return;
  }
  // between this count and the sleep the round may end: then the value has changed, and wait returns at once
  atomic.add<i32>(meeting, 1, SLEEPING);
  while (atomic.load<i32>(meeting, ROUND) === round) atomic.wait<i32>(meeting + ROUND, round, -1);
  atomic.sub<i32>(meeting, 1, SLEEPING);
}
