/*
 * The threads that work on one forward pass together. All run the same code, each on its share; where one needs
 * what another has written, all meet at a barrier first.
 *
 * The build without shared memory has one thread and no barriers.
 */
import { patience, threads } from "./model";

/** Where the threads meet, behind expf's table. All zero at first. */
const ARRIVED: usize = 256; // how many wait at the barrier
const ROUND: usize = 260; // how many times all have met
const SLEEPING: usize = 264; // how many sleep until the round is over

/** Wait here until all threads have come. What they wrote before, everyone can read after. */
export function barrier(): void {
  if (!ASC_FEATURE_THREADS || threads === 1) return;
  const round = atomic.load<i32>(ROUND);
  if (atomic.add<i32>(ARRIVED, 1) + 1 === threads) {
    atomic.store<i32>(ARRIVED, 0);
    atomic.add<i32>(ROUND, 1);
    if (atomic.load<i32>(SLEEPING) > 0) atomic.notify(ROUND, -1);
    return;
  }
  for (let i = 0; i < patience; i++) {
    if (atomic.load<i32>(ROUND) !== round) return;
  }
  // between this count and the sleep the round may end: then the value has changed, and wait returns at once
  atomic.add<i32>(SLEEPING, 1);
  while (atomic.load<i32>(ROUND) === round) atomic.wait<i32>(ROUND, round, -1);
  atomic.sub<i32>(SLEEPING, 1);
}
