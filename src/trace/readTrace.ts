/*
 * Reads a trace that llama2 trace has written as JSON, to compare it with a run. Runs in browsers.
 */
import { Llama2Error } from "../errors.ts";
import type { Stop, Tensor } from "./run.ts";
import { isStopId, type StopId, stopOf, type TensorName } from "./stops.ts";

/** The trace of one position, as its file has it. */
export interface TraceFile {
  model: string;
  backend: string;
  tokens: number[];
  position: number;
  stops: Stop[];
}

/**
 * @param name of the file, for messages
 * @throws Llama2Error E_FORMAT if the text is not a trace
 */
export function readTrace(text: string, name: string): TraceFile {
  const refuse = (why: string): never => {
    throw new Llama2Error("E_FORMAT", `${name} is not a trace: ${why}. llama2 trace writes one, as JSON`);
  };
  let found: Partial<Record<keyof TraceFile, unknown>> | null;
  try {
    found = JSON.parse(text);
  } catch {
    return refuse("it is not JSON");
  }
  const { model, backend, tokens, position, stops } = found ?? {};
  if (typeof model !== "string" || typeof backend !== "string") return refuse("it names no model or no backend");
  if (!Array.isArray(tokens) || !Array.isArray(stops)) return refuse("it has no tokens or no stops");
  if (!tokens.every((token) => isIndex(token, 0))) refuse("its tokens are not whole numbers");
  if (!isIndex(position, 0) || position >= tokens.length) return refuse("its position is not among its tokens");
  return {
    model,
    backend,
    tokens,
    position,
    stops: stops.map((stop) => stopOfJson(stop) ?? refuse("a stop of it has no name, shape or values")),
  };
}

function stopOfJson(stop: unknown): Stop | undefined {
  const { id, layer = -1, tensors, fused } = (stop ?? {}) as Record<string, unknown>;
  if (typeof id !== "string" || !isStopId(id) || !isIndex(layer, -1) || !Array.isArray(tensors)) return undefined;
  const read = tensors.map((tensor) => tensorOfJson(id, tensor));
  if (read.includes(undefined)) return undefined;
  return { id, layer, tensors: read as Tensor[], ...(fused ? { fused: true } : {}) };
}

function tensorOfJson(id: StopId, tensor: unknown): Tensor | undefined {
  const { name, shape, values } = (tensor ?? {}) as Record<string, unknown>;
  if (!stopOf(id).tensors.includes(name as TensorName) || !Array.isArray(shape) || !Array.isArray(values)) return;
  const isWhole = shape.every((size) => isIndex(size, 0)) && shape.reduce((a, b) => a * b, 1) === values.length;
  if (!isWhole || !values.every((value) => typeof value === "number" || UNWRITTEN.includes(value))) return;
  return { name: name as TensorName, shape, values: Float32Array.from(values, Number) };
}

/** The strings that stand for numbers which JSON does not have. */
const UNWRITTEN: readonly unknown[] = ["-0", "NaN", "Infinity", "-Infinity"];

const isIndex = (value: unknown, least: number): value is number => Number.isInteger(value) && Number(value) >= least;
