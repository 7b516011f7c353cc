/*
 * What TypeScript sees of the kernels: the model's globals, to be set once; then `forward` and `sample` on the
 * first thread, and `work` on the others.
 */
import { job as jobAddress } from "./model";
import { barrier } from "./team";
import * as transformer from "./transformer";

// how large things are, which plan.ts must know before there is a memory: a test holds panels.ts against these
export { matrixBytes, rowBytes } from "./matmul";
export * from "./model";
export { sample } from "./sampler";
export { weightBytes } from "./weights";

/** The call of `forward` that all threads work on. */
@unmanaged
class Job {
  keyCache: usize = 0;
  valueCache: usize = 0;
  logits: usize = 0;
  count: i32 = 0; // 0: there will be no more
  classified: i32 = 0;
}
/** Run a forward pass together with the other threads. */
export function forward(keyCache: usize, valueCache: usize, logits: usize, count: i32, classified: i32): void {
  const job = changetype<Job>(jobAddress);
  job.keyCache = keyCache;
  job.valueCache = valueCache;
  job.logits = logits;
  job.count = count;
  job.classified = classified;
  barrier(); // the others read the job
  transformer.forward(keyCache, valueCache, logits, count, classified);
}

/** The life of every other thread: wait for a job, do a share of it, until there will be no more. */
export function work(): void {
  const job = changetype<Job>(jobAddress);
  for (barrier(); job.count > 0; barrier()) {
    transformer.forward(job.keyCache, job.valueCache, job.logits, job.count, job.classified);
  }
}

/** Let the other threads return from `work`. */
export function stop(): void {
  changetype<Job>(jobAddress).count = 0;
  barrier();
}
