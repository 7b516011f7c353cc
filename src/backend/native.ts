/*
 * What native backends have in common: how their files are loaded, and how a model is handed over to them.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { type ErrorCode, Llama2Error, type Remedy } from "../errors.ts";
import { groupSizeOf, type Holdings, isVector, tensorsOf, type WeightSource } from "../llama2/weights.ts";
import { probe } from "./probe.ts";

/** A native file: its name in messages, its path, and the command that builds it. */
export interface NativeFile {
  what: string;
  path: string;
  command: string;
}

/**
 * Load a native file, after a child process has tried that it loads.
 * @throws Llama2Error E_DEVICE_UNAVAILABLE with the reason
 */
export function loadNative<T>({ what, path, command }: NativeFile): T {
  if (!existsSync(path)) {
    throw new Llama2Error("E_DEVICE_UNAVAILABLE", `${what} has not been built: \`${command}\` builds it`);
  }
  const unusable = (code: string, reason: string) =>
    new Llama2Error(
      "E_DEVICE_UNAVAILABLE",
      `${what} ${path} does not load here (${code}: ${reason}): \`${command}\` rebuilds it`,
    );
  const { ok, code, reason } = probe(path);
  if (!ok) throw unusable(code, reason);
  try {
    return createRequire(import.meta.url)(path);
  } catch (error) {
    const { code = "EXIT", message } = error as NodeJS.ErrnoException;
    throw unusable(code, message.split("\n")[0]);
  }
}

/** The errors of native code, and what to do about each. */
const NATIVE_ERRORS: Partial<Record<ErrorCode, { advice: string; remedy?: Remedy }>> = {
  E_DEVICE_UNAVAILABLE: { advice: "" },
  E_LIMIT: {
    advice: ". Fewer threads need less memory, and so does a shorter context",
    remedy: { option: "context" },
  },
  E_DEVICE_OOM: {
    advice: ". A shorter context needs less memory, and so do fewer stories at once",
    remedy: { option: "context" },
  },
  E_DEVICE_LOST: { advice: ". This process cannot use the GPU any more: start it again" },
};

/** Do `work`, which calls native code: its errors that have a code (native/addon/guard.h) become Llama2Errors. */
export function calling<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw typedError(error);
  }
}

/** A Llama2Error for an error of native code that has a code; any other error as it is. */
export function typedError(error: unknown): unknown {
  const { code, message } = error as { code?: ErrorCode; message: string };
  const known = code && NATIVE_ERRORS[code];
  if (error instanceof Llama2Error || !known) return error;
  return new Llama2Error(code, message + known.advice, known.remedy);
}

/** A model that takes weights in pieces; `offset` says how many numbers of the tensor came before. */
export interface Fillable {
  fill(name: string, layer: number, values: Float32Array, offset: number): void;
  fillQuantized(name: string, layer: number, values: Int8Array, scales: Float32Array, offset: number): void;
}

/** Hand over all tensors in the order of files: each one for all layers before the next. */
export async function fill(model: Fillable, source: WeightSource): Promise<void> {
  for (const { name, layers } of tensorsOf(source)) {
    for (let l = 0; l < layers; l++) {
      for await (const piece of source.pieces(name, l, 1)) {
        if ("values" in piece) model.fill(name, l, piece.values, piece.offset);
        else model.fillQuantized(name, l, piece.q, piece.scales, piece.offset);
      }
    }
  }
}

/**
 * How many numbers share a scale in all matrices of a model; 0 for float32.
 * @throws Llama2Error E_DEVICE_UNAVAILABLE if they differ
 */
export function commonGroupSize(source: Holdings, backend: string): number {
  const matrices = tensorsOf(source).filter(({ name }) => !isVector(name));
  const [first, ...rest] = new Set(matrices.map(({ name }) => groupSizeOf(source.formatOf(name))));
  if (rest.length === 0) return first;
  const text = (groupSize: number) => (groupSize === 0 ? "float32" : `int8 in groups of ${groupSize}`);
  throw new Llama2Error(
    "E_DEVICE_UNAVAILABLE",
    `the matrices of this model are ${[first, ...rest].map(text).join(", ")}, and the ${backend} backend takes one format for all`,
  );
}
