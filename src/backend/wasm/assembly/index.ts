/*
 * What TypeScript sees of the kernels: the model's globals, to be set once; then `forward` and `sample` on the
 * first thread, and `work` on the others.
 */
import { barrier } from "./team";
import * as transformer from "./transformer";

export * from "./model";
export { sample } from "./sampler";

/** The call of `forward` that all threads work on. */
@unmanaged
class Job {
  keyCache: usize = 0;
  valueCache: usize = 0;
  logits: usize = 0;
  count: i32 = 0; // 0: there will be no more
  classified: i32 = 0;
}
const job = changetype<Job>(512);

/** Run a forward pass together with the other threads. */
export function forward(keyCache: usize, valueCache: usize, logits: usize, count: i32, classified: i32): void {
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
  for (barrier(); job.count > 0; barrier()) {
    transformer.forward(job.keyCache, job.valueCache, job.logits, job.count, job.classified);
  }
}

/** Let the other threads return from `work`. */
export function stop(): void {
  job.count = 0;
  barrier();
}
