/*
 * Checks that work on an untrusted file takes little time and memory.
 */
import { expect } from "vitest";

/**
 * What `work` returns, if it did not take more than its share: for files of strangers, whatever they say.
 * CPU time, not the clock, so that a busy machine fails no test.
 */
export function frugally<T>(work: () => T, limits: Limits = {}): T {
  const check = measure(limits);
  try {
    return work();
  } finally {
    check();
  }
}

/** The same for asynchronous work. */
export async function frugallyAsync<T>(work: () => Promise<T>, limits: Limits = {}): Promise<T> {
  const check = measure(limits);
  try {
    return await work();
  } finally {
    check();
  }
}

interface Limits {
  cpuMs?: number;
  bytes?: number;
}

function measure({ cpuMs = 1000, bytes = 8 << 20 }: Limits): () => void {
  const memory = process.memoryUsage().arrayBuffers;
  const cpu = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(cpu);
    expect((user + system) / 1000, "CPU time in ms").toBeLessThan(cpuMs);
    expect(process.memoryUsage().arrayBuffers - memory, "bytes in array buffers").toBeLessThan(bytes);
  };
}
