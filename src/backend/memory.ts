/*
 * How much memory this machine has: Node's part of limits.ts.
 */
import { freemem, totalmem } from "node:os";

/**
 * Bytes of available memory. What Linux calls available includes the files that it keeps in memory while nobody
 * else wants it. Elsewhere "free" does not, so there it is the whole memory that counts, as in a container its limit.
 */
export function availableMemory(): number {
  const machine = process.platform === "linux" ? freemem() : totalmem();
  return Math.min(machine, process.constrainedMemory() || Infinity);
}
