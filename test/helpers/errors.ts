/*
 * Errors that are thrown on purpose.
 */
import { expect } from "vitest";
import { type ErrorCode, Llama2Error } from "../../src/errors.ts";

/** The typed error that `action` throws, which must have this code. */
export function thrown(code: ErrorCode, action: () => unknown): Llama2Error {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(Llama2Error);
    expect((error as Llama2Error).code).toBe(code);
    return error as Llama2Error;
  }
  throw new Error(`nothing was thrown, expected ${code}`);
}

/** The same for what `promise` is rejected with. */
export async function rejected(code: ErrorCode, promise: Promise<unknown>): Promise<Llama2Error> {
  const error = await promise.then(
    () => new Error(`nothing was thrown, expected ${code}`),
    (reason: unknown) => reason,
  );
  return thrown(code, () => {
    throw error;
  });
}

/** Check that `work` refuses with `code` and a message that says all of `parts`. */
export function expectRefusal(work: () => unknown, code: ErrorCode, ...parts: (string | RegExp)[]): void {
  const { message } = thrown(code, work);
  for (const part of parts) expect(message).toMatch(part);
}

/** The same for what `promise` is rejected with. */
export async function expectRejection(
  promise: Promise<unknown>,
  code: ErrorCode,
  ...parts: (string | RegExp)[]
): Promise<void> {
  const { message } = await rejected(code, promise);
  for (const part of parts) expect(message).toMatch(part);
}
