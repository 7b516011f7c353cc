/*
 * Changes a model or a run at one place: a single weight, or an activation from another run. Runs in browsers.
 */
import { Llama2Error } from "../errors.ts";
import type { Config, Matrix, TransformerWeights } from "../llama2/transformer.ts";
import type { Hook, Hooks, TracedRun } from "./run.ts";
import { isStopId, nameOf, type Place, stopOf, type TensorName } from "./stops.ts";

/**
 * Activation patching: at a stop of a position, continue with the values of another run of the same model at `sourcePos`.
 * @throws Llama2Error E_USAGE for attention scores and probabilities, whose number depends on the position
 */
export function patch(source: TracedRun, sourcePos: number, place: Place, pos: number): Hooks {
  const { id, layer } = place;
  if (id === "scores" || id === "probs") {
    throw new Llama2Error("E_USAGE", `${nameOf(place)} has a number for each position, so it does not fit another one`);
  }
  const values = new Map<TensorName, Float32Array>();
  for (const tensor of stopOf(id).tensors) values.set(tensor, source.values(sourcePos, place, tensor));
  const hook: Hook = (now, at) => {
    const pasted = values.get(at.tensor);
    if (pasted && at.layer === layer && at.pos === pos) now.set(pasted);
  };
  return { [id]: hook };
}

/** "L2.res1", or "logits", as `nameOf` writes it. @throws Llama2Error E_USAGE if this model has no such stop */
export function placeNamed(name: string, { nLayers }: Config): Place {
  const [, layerText, id = ""] = /^(?:L(\d+)\.)?(\w+)$/.exec(name) ?? [];
  const layer = layerText === undefined ? -1 : Number(layerText);
  const isThere = isStopId(id) && (stopOf(id).place === "layer" ? layer >= 0 && layer < nLayers : layer === -1);
  if (!isThere) throw new Llama2Error("E_USAGE", `"${name.slice(0, 40)}" is no stop of this model`);
  return { id, layer };
}

const MATRICES = ["wq", "wk", "wv", "wo", "w1", "w2", "w3"] as const;
const NORMS = ["rmsAttWeight", "rmsFfnWeight"] as const;
const isOneOf = <T extends string>(names: readonly T[], name: string): name is T => names.includes(name as T);

/** Where a weight is: the array that holds it, and its index there. */
interface Cell {
  data: Float32Array;
  index: number;
  /** The weights with another array instead of `data`. */
  with(data: Float32Array): TransformerWeights;
}

/** A weight by the name that `explain` gives it: "wq[1][44][176]", "rmsFinalWeight[3]". @throws Llama2Error E_USAGE */
export function weightNamed(weights: TransformerWeights, name: string): number {
  const { data, index } = cellOf(weights, name);
  return data[index];
}

/**
 * The weights with one of them changed; all others are shared with the original. Where the classifier is the embedding
 * table, it changes in both.
 * @throws Llama2Error E_USAGE if there is no such weight, or it is stored in int8
 */
export function withWeight(weights: TransformerWeights, name: string, value: number): TransformerWeights {
  const cell = cellOf(weights, name);
  const data = cell.data.slice();
  data[cell.index] = value;
  return cell.with(data);
}

function cellOf(weights: TransformerWeights, text: string): Cell {
  const [, name = "", indices = ""] = /^(\w+)((?:\[\d+\])+)$/.exec(text) ?? [];
  const numbers = Array.from(indices.matchAll(/\d+/g), ([digits]) => Number(digits));
  const refuse = (why = "is no weight of this model"): never => {
    throw new Llama2Error("E_USAGE", `"${text.slice(0, 60)}" ${why}`);
  };
  const inMatrix = (
    w: Matrix | undefined,
    [row, column]: number[],
    replaced: (w: Matrix) => TransformerWeights,
  ): Cell => {
    if (w && !("data" in w)) refuse("is stored in int8; only float32 weights can be changed");
    if (!w || !("data" in w) || !(row < w.d) || !(column < w.n)) return refuse();
    return { data: w.data, index: row * w.n + column, with: (data) => replaced({ ...w, data }) };
  };
  const inVector = (data: Float32Array | undefined, index: number, replaced: Cell["with"]): Cell =>
    data && index < data.length ? { data, index, with: replaced } : refuse();
  const [layer, ...rest] = numbers;
  if (isOneOf(MATRICES, name) && numbers.length === 3) {
    return inMatrix(weights[name][layer], rest, (w) => ({ ...weights, [name]: weights[name].with(layer, w) }));
  }
  if (isOneOf(NORMS, name) && numbers.length === 2) {
    const replaced = (data: Float32Array) => ({ ...weights, [name]: weights[name].with(layer, data) });
    return inVector(weights[name][layer], rest[0], replaced);
  }
  if (name === "rmsFinalWeight" && numbers.length === 1) {
    return inVector(weights.rmsFinalWeight, layer, (data) => ({ ...weights, rmsFinalWeight: data }));
  }
  if ((name === "tokenEmbeddingTable" || name === "wcls") && numbers.length === 2) {
    const isShared = weights.wcls === weights.tokenEmbeddingTable;
    const replaced = (w: Matrix) =>
      isShared ? { ...weights, tokenEmbeddingTable: w, wcls: w } : { ...weights, [name]: w };
    return inMatrix(weights[name], numbers, replaced);
  }
  return refuse();
}
