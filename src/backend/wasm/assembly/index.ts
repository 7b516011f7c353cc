/*
 * The exports of the kernels: the model's globals, to be set once; then `forward` and `sample` on the first thread, and
 * `work` on the others.
 */
import { job as jobAddress, ready, setPass } from "./model";
import { arrive, awaitCall, awaitOthers, barriersMet, call, join, lateMs } from "./team";
import * as transformer from "./transformer";

// sizes that plan.ts must know before there is a memory: a test compares panels.ts with these
export { matrixBytes, rowBytes } from "./matmul";
export * from "./model";
export { sample } from "./sampler";
export { weightBytes } from "./weights";

/** A call of `forward`. */
@unmanaged
class Job {
  barriersMet: i64 = 0; // how many barriers came before it
  keyCache: usize = 0;
  valueCache: usize = 0;
  logits: usize = 0;
  count: i32 = 0; // 0: no more jobs will come
  classified: i32 = 0;
  threads: i32 = 0; // that work on it
  panels: i32 = 0; // that are read at once for a single entry
}

/**
 * Run a forward pass together with the first `threads - 1` of the other threads. The bits do not depend on their number.
 * Returns for how many milliseconds a thread waited for a late one.
 */
export function forward(
  keyCache: usize,
  valueCache: usize,
  logits: usize,
  count: i32,
  classified: i32,
  threads: i32,
  panels: i32,
): f64 {
  setPass(threads, panels);
  const job = changetype<Job>(jobAddress);
  job.barriersMet = barriersMet();
  job.keyCache = keyCache;
  job.valueCache = valueCache;
  job.logits = logits;
  job.count = count;
  job.classified = classified;
  job.threads = threads;
  job.panels = panels;
  call(threads);
  transformer.forward(keyCache, valueCache, logits, count, classified);
  arrive();
  awaitOthers(); // this thread goes on to use all of the logits
  return lateMs();
}

/** The loop of every other thread: wait for a job and do a share of it, until the last one. */
export function work(): void {
  if (!ASC_FEATURE_THREADS) return;
  const job = changetype<Job>(jobAddress);
  atomic.add<i32>(ready, 1);
  for (let jobs: i64 = 1; ; jobs++) {
    awaitCall(jobs);
    if (job.count === 0) return;
    setPass(job.threads, job.panels);
    join(job.barriersMet);
    transformer.forward(job.keyCache, job.valueCache, job.logits, job.count, job.classified);
    arrive();
  }
}

/** Let the `threads` threads return from `work`. */
export function stop(threads: i32): void {
  changetype<Job>(jobAddress).count = 0;
  call(threads);
}
