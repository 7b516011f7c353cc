/*
 * How much memory this machine has: Node's part of limits.ts.
 */
import { freemem, totalmem } from "node:os";

/**
 * Bytes of available memory. On Linux that includes the file cache, which can be dropped. On other systems "free" memory
 * does not include it, so there the total memory counts; in a container, its limit.
 */
export function availableMemory(): number {
  const machine = process.platform === "linux" ? freemem() : totalmem();
  return Math.min(machine, process.constrainedMemory() || Infinity);
}
