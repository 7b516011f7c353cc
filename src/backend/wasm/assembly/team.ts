/*
 * The threads that work on one forward pass together. All run the same code, each on its share; where one needs
 * what another has written, there is a barrier first.
 *
 * A waiting thread spins for a while, since waking it takes longer than most waits; then it sleeps. The time that it
 * sleeps is counted: a thread that lets others wait that long is late (../../team.ts).
 *
 * The build without shared memory has one thread and no barriers.
 */
import { meeting, patience, thread, threads } from "./model";

/**
 * Each thread's data at `meeting`: two counters, which only grow, each in a cache line of its own together with the
 * number of threads that sleep until it changes; and the time that the thread has lost.
 */
const MEMBER: usize = 128;
const CALLED: usize = 0; // for how many jobs
const ARRIVED: usize = 64; // at which barrier, counted through all jobs
const SLEEPING: usize = 8;
const LATE: usize = ARRIVED + 16; // for how many milliseconds it waited for late threads in this job

/** How many barriers this thread has passed. */
let barriers: i64 = 0;

function counter(member: i32, which: usize): usize {
  return meeting + member * MEMBER + which;
}

function set(counter: usize, value: i64): void {
  atomic.store<i64>(counter, value);
  // a thread announces its sleep before its last check, so one of the two sees the other
  if (atomic.load<i32>(counter, SLEEPING) > 0) atomic.notify(counter, -1);
}

/** Wait until the counter has reached `goal`. Returns how many milliseconds this thread slept. */
function awaitCounter(counter: usize, goal: i64): f64 {
  for (let i = 0; i < patience; i++) {
    if (atomic.load<i64>(counter) >= goal) return 0;
  }
  const start = performance.now();
  atomic.add<i32>(counter, 1, SLEEPING);
  // if the value changes between the check and the sleep, wait returns at once
  for (let value = atomic.load<i64>(counter); value < goal; value = atomic.load<i64>(counter)) {
    atomic.wait<i64>(counter, value, -1);
  }
  atomic.sub<i32>(counter, 1, SLEEPING);
  return performance.now() - start;
}

/** Wake the first `count` threads, except this one, for a job or for the end. */
export function call(count: i32): void {
  if (!ASC_FEATURE_THREADS) return;
  store<f64>(counter(0, LATE), 0);
  for (let member = 1; member < count; member++) {
    const called = counter(member, CALLED);
    set(called, atomic.load<i64>(called) + 1);
  }
}

/** Wait until this thread is called for the `jobs`-th time. */
export function awaitCall(jobs: i64): void {
  if (!ASC_FEATURE_THREADS) return;
  awaitCounter(counter(thread, CALLED), jobs);
}

/** Take part in a job that began after `count` barriers. */
export function join(count: i64): void {
  barriers = count;
  store<f64>(counter(thread, LATE), 0);
}

/** How many barriers this thread has passed. */
export function barriersMet(): i64 {
  return barriers;
}

/** Let the threads that wait for this one read what it has written. */
export function arrive(): void {
  if (!ASC_FEATURE_THREADS || threads === 1) return;
  set(counter(thread, ARRIVED), ++barriers);
}

/** Wait until the others have arrived as well. */
export function awaitOthers(): void {
  if (!ASC_FEATURE_THREADS) return;
  const late = counter(thread, LATE);
  for (let member = 0; member < threads; member++) {
    if (member === thread) continue;
    const ms = awaitCounter(counter(member, ARRIVED), barriers);
    if (ms > 0) store<f64>(late, load<f64>(late) + ms);
  }
}

/** Wait until all threads have arrived. After it, all see what the others wrote before it. */
export function barrier(): void {
  arrive();
  awaitOthers();
}

/** The longest time in milliseconds that a thread waited for late ones in the last job. */
export function lateMs(): f64 {
  let most: f64 = 0;
  for (let member = 0; member < threads; member++) most = max(most, load<f64>(counter(member, LATE)));
  return most;
}
