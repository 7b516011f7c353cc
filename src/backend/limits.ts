/*
 * Refuses models that no backend could hold, before anything is allocated.
 */
import { Llama2Error } from "../errors.ts";
import { type Config, kvDimOf } from "../llama2/transformer.ts";
import { type Holdings, tensorsOf } from "../llama2/weights.ts";
import type { Memory } from "./backend.ts";

/** Float32 cannot count further: position 2^24 + 1 would get the RoPE angles of position 2^24. */
const MAX_POSITIONS = 2 ** 24;
/** Real models have up to about 130 layers. Each is a dozen objects, however small its tensors are. */
const MAX_LAYERS = 2 ** 12;
/** The most numbers that an array of Node 20 holds. */
const MAX_NUMBERS = 2 ** 32;

/** @throws Llama2Error E_LIMIT if the model, or the context, is too large for any machine */
export function checkLimits(source: Holdings, contextLength: number): void {
  const p = { ...source.config, seqLen: contextLength };
  if (p.seqLen > MAX_POSITIONS) {
    throw new Llama2Error(
      "E_LIMIT",
      `a context of ${p.seqLen} positions is more than the ${MAX_POSITIONS} that float32 can tell apart. Cap it at 4096, say`,
      { option: "context", value: 4096 },
    );
  }
  if (p.nLayers > MAX_LAYERS) {
    throw new Llama2Error("E_LIMIT", `the model has ${p.nLayers} layers, and ${MAX_LAYERS} can be handled`);
  }
  const tensors = tensorsOf(source);
  const largest = Math.max(...tensors.map(({ d, n }) => filledUp(d) * n));
  if (largest > MAX_NUMBERS) {
    const message = `a matrix of the model takes ${largest} numbers, and ${MAX_NUMBERS} can be handled`;
    throw new Llama2Error("E_LIMIT", message);
  }
  const keys = p.nLayers * p.seqLen * kvDimOf(p);
  if (keys > MAX_NUMBERS) {
    throw new Llama2Error(
      "E_LIMIT",
      `a context of ${p.seqLen} positions needs ${keys} keys, and ${MAX_NUMBERS} can be handled. Cap it at ${shorter(p)}, say`,
      { option: "context", value: shorter(p) },
    );
  }
}

/**
 * For backends that keep a model in the memory of this machine.
 * @throws Llama2Error E_LIMIT if the model and one sequence need more than is available
 */
export function checkMemory({ weights, perSequence, scratch, available }: Memory, p: Config): void {
  const context = scratch + perSequence;
  if (weights + context <= available) return;
  const gb = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
  const message = `the weights need ${gb(weights)} and a context of ${p.seqLen} positions ${gb(context)}, but ${gb(available)} of memory are available`;
  if (weights > available) throw new Llama2Error("E_LIMIT", message);
  const remedy = { option: "context", value: shorter(p) } as const;
  throw new Llama2Error("E_LIMIT", `${message}. A context of ${shorter(p)} needs less`, remedy);
}

/** Rounded up to 16, the widest panel any backend uses. */
const filledUp = (rows: number): number => 16 * Math.ceil(rows / 16);

/** A context to try instead. */
export const shorter = (p: Config): number => Math.min(2048, Math.ceil(p.seqLen / 4));
