/*
 * Work on the files of strangers, which must be done with little.
 */
import { expect } from "vitest";

/**
 * What `work` returns, if it did not take more than its share: for files of strangers, whatever they say.
 * CPU time, not the clock, so that a busy machine fails no test.
 */
export function frugally<T>(work: () => T, { cpuMs = 1000, bytes = 8 << 20 } = {}): T {
  const memory = process.memoryUsage().arrayBuffers;
  const cpu = process.cpuUsage();
  try {
    return work();
  } finally {
    const { user, system } = process.cpuUsage(cpu);
    expect((user + system) / 1000, "CPU time in ms").toBeLessThan(cpuMs);
    expect(process.memoryUsage().arrayBuffers - memory, "bytes in array buffers").toBeLessThan(bytes);
  }
}
