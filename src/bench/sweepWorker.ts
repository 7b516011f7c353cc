/*
 * A thread that reads its part of a buffer, together with others.
 */
import { parentPort, workerData } from "node:worker_threads";

export interface Part {
  memory: SharedArrayBuffer;
  offset: number;
  length: number;
  /** One int32: how many threads are ready. All start together. */
  ready: SharedArrayBuffer;
  threads: number;
  seconds: number;
}

const { memory, offset, length, ready, threads, seconds } = workerData as Part;
const bytes = Buffer.from(memory, offset, length).fill(7); // unwritten pages would all be the same zero page
const arrived = new Int32Array(ready);
Atomics.add(arrived, 0, 1);
Atomics.notify(arrived, 0);
for (let n = Atomics.load(arrived, 0); n < threads; n = Atomics.load(arrived, 0)) Atomics.wait(arrived, 0, n);

const start = performance.now();
let read = 0;
let elapsed = 0;
do {
  bytes.indexOf(1);
  read += length;
  elapsed = (performance.now() - start) / 1000;
} while (elapsed < seconds);
parentPort?.postMessage(read / elapsed);
