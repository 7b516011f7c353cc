/*
 * What no backend could hold is refused before anything is allocated.
 */
import { Llama2Error } from "../errors.ts";
import { runOf } from "../llama2/quantize.ts";
import { type Config, headSizeOf, kvDimOf } from "../llama2/transformer.ts";
import { groupSizeOf, type Holdings, isVector, tensorsOf } from "../llama2/weights.ts";

/** Float32 cannot count further: position 2^24 + 1 would get the RoPE angles of position 2^24. */
const MAX_POSITIONS = 2 ** 24;
/** Real models have up to about 130. Each is a dozen objects, however small its tensors are. */
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
 * For backends whose models lie in the memory of this machine, of which `memory` bytes are to be had.
 * @throws Llama2Error E_LIMIT if they cannot
 */
export function checkMemory(source: Holdings, contextLength: number, memory: number): void {
  const p = { ...source.config, seqLen: contextLength };
  const weights = tensorsOf(source).reduce((sum, { name, layers, d, n }) => {
    return sum + layers * (isVector(name) ? 4 * n : matrixBytes(d, n, groupSizeOf(source.formatOf(name))));
  }, 0);
  const cache = sequenceBytes(p);
  if (weights + cache > memory) {
    const gb = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
    const message = `the weights need ${gb(weights)} and a context of ${p.seqLen} positions ${gb(cache)}, but ${gb(memory)} of memory are available`;
    if (weights > memory) throw new Llama2Error("E_LIMIT", message);
    const remedy = { option: "context", value: shorter(p) } as const;
    throw new Llama2Error("E_LIMIT", `${message}. A context of ${shorter(p)} needs less`, remedy);
  }
}

/** Rows, or what lies like rows, come in panels of sixteen, the last one filled up: the largest that a backend has. */
const filledUp = (rows: number): number => 16 * Math.ceil(rows / 16);

/** Bytes that a matrix of d rows and n columns takes, where that is most: on the cpu backend (native/cpu/kernels.h). */
function matrixBytes(d: number, n: number, groupSize: number): number {
  if (groupSize === 0) return 4 * filledUp(d) * n;
  const segment = runOf(n, groupSize); // filled up to whole quads, and with a scale of its own
  return filledUp(d) * (n / segment) * (4 * Math.ceil(segment / 4) + 4);
}

/** Bytes that a sequence takes: its KV cache, in panels of positions and of a head's numbers, and its attention scores. */
export function sequenceBytes(p: Config): number {
  const headSize = headSizeOf(p);
  const cache = p.nLayers * p.nKvHeads * (filledUp(p.seqLen) * headSize + filledUp(headSize) * p.seqLen);
  return 4 * (cache + p.nHeads * filledUp(p.seqLen));
}

/** A context to try instead. */
export const shorter = (p: Config): number => Math.min(2048, Math.ceil(p.seqLen / 4));
