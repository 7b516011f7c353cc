/*
 * Passing errors from one thread to the other.
 */
import { Llama2Error } from "../errors.ts";
import type { FailureInfo } from "./protocol.ts";

export function describe(error: unknown): FailureInfo {
  if (error instanceof Llama2Error) return { code: error.code, message: error.message, remedy: error.remedy };
  // backend/load.ts refuses models that the machine can never hold; this one does not fit into what is free now
  if (isOutOfMemory(error)) {
    const message = "there is not enough free memory. A smaller model needs less, and so does a shorter context";
    return { code: "E_LIMIT", message, remedy: { option: "context" } };
  }
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  return { code: undefined, message, stack };
}

/** The error that was described. */
export function revive({ code, message, stack, remedy }: FailureInfo): Error {
  if (code) return new Llama2Error(code, message, remedy);
  const error = new Error(message);
  if (stack !== undefined) error.stack = stack;
  return error;
}

/** E_LIMIT from a backend, E_DEVICE_OOM from a device, or V8's error for an array that cannot be allocated. */
export function isOutOfMemory(error: unknown): boolean {
  if (error instanceof Llama2Error) return error.code === "E_LIMIT" || error.code === "E_DEVICE_OOM";
  return error instanceof RangeError && /allocation failed|array length/.test(error.message);
}
