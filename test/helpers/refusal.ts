/*
 * How things are refused: with a typed error whose message helps.
 */
import { expect } from "vitest";
import { type ErrorCode, Llama2Error } from "../../src/errors.js";

/** The error with which `work` refuses. Anything but a Llama2Error, or none, fails the test. */
export function refusal(work: () => unknown): Llama2Error {
  try {
    work();
  } catch (error) {
    if (error instanceof Llama2Error) return error;
    throw error;
  }
  throw new Error("expected a Llama2Error, but it was accepted");
}

/** Check that `work` refuses with `code` and a message that says all of `parts`. */
export function expectRefusal(work: () => unknown, code: ErrorCode, ...parts: (string | RegExp)[]): void {
  const error = refusal(work);
  expect(error).toMatchObject({ code });
  for (const part of parts) expect(error.message).toMatch(part);
}

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
