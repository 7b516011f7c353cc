/*
 * The threads that work on one forward pass together. All run the same code, each on its share; where one needs
 * what another has written, all meet at a barrier first.
 *
 * Who waits looks again and again for a while, since waking a sleeper takes longer than most waits; then it sleeps. How
 * long it slept is counted: who lets others wait that long is late (../../team.ts).
 *
 * The build without shared memory has one thread and no barriers.
 */
import { meeting, patience, thread, threads } from "./model";

/**
 * What each thread has at `meeting`: two counters, which only grow, each in a cache line of its own with the number of
 * those that sleep until it does; and what the thread has lost.
 */
const MEMBER: usize = 128;
const CALLED: usize = 0; // for how many jobs
const ARRIVED: usize = 64; // at which barrier, counted through all jobs
const SLEEPING: usize = 8;
const LATE: usize = ARRIVED + 16; // for how many milliseconds it waited for the late in this job

/** At how many barriers this thread has been. */
let barriers: i64 = 0;

function counter(member: i32, which: usize): usize {
  return meeting + member * MEMBER + which;
}

function set(counter: usize, value: i64): void {
  atomic.store<i64>(counter, value);
  // a sleeper announces itself before it looks for the last time, so one of the two sees the other
  if (atomic.load<i32>(counter, SLEEPING) > 0) atomic.notify(counter, -1);
}

/** Return once the counter has reached `goal`: how many milliseconds this thread slept for that. */
function awaitCounter(counter: usize, goal: i64): f64 {
  for (let i = 0; i < patience; i++) {
    if (atomic.load<i64>(counter) >= goal) return 0;
  }
  const start = performance.now();
  atomic.add<i32>(counter, 1, SLEEPING);
  // should the value change between a look and the sleep, wait returns at once
  for (let value = atomic.load<i64>(counter); value < goal; value = atomic.load<i64>(counter)) {
    atomic.wait<i64>(counter, value, -1);
  }
  atomic.sub<i32>(counter, 1, SLEEPING);
  return performance.now() - start;
}

/** Call the first `count` threads but this one to a job, or to its end. */
export function call(count: i32): void {
  if (!ASC_FEATURE_THREADS) return;
  store<f64>(counter(0, LATE), 0);
  for (let member = 1; member < count; member++) {
    const called = counter(member, CALLED);
    set(called, atomic.load<i64>(called) + 1);
  }
}

/** Return once this thread is called, for the `jobs`-th time. */
export function awaitCall(jobs: i64): void {
  if (!ASC_FEATURE_THREADS) return;
  awaitCounter(counter(thread, CALLED), jobs);
}

/** Take part in a job before which there were so many barriers. */
export function join(count: i64): void {
  barriers = count;
  store<f64>(counter(thread, LATE), 0);
}

/** At how many barriers this thread has been. */
export function barriersMet(): i64 {
  return barriers;
}

/** What this thread has written, all who wait for it can read. */
export function arrive(): void {
  if (!ASC_FEATURE_THREADS || threads === 1) return;
  set(counter(thread, ARRIVED), ++barriers);
}

/** Return once the others have arrived as well. */
export function awaitOthers(): void {
  if (!ASC_FEATURE_THREADS) return;
  const late = counter(thread, LATE);
  for (let member = 0; member < threads; member++) {
    if (member === thread) continue;
    const ms = awaitCounter(counter(member, ARRIVED), barriers);
    if (ms > 0) store<f64>(late, load<f64>(late) + ms);
  }
}

/** Wait here until all threads have come. What they wrote before, everyone can read after. */
export function barrier(): void {
  arrive();
  awaitOthers();
}

/** The most milliseconds for which one of the team waited for the late in this job, which is over. */
export function lateMs(): f64 {
  let most: f64 = 0;
  for (let member = 0; member < threads; member++) most = max(most, load<f64>(counter(member, LATE)));
  return most;
}
