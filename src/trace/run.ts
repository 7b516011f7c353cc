/*
 * A sequence that is read with stops, for debugging the transformer. Runs in browsers.
 */
import { checkThat, show } from "../check.ts";
import { Llama2Error } from "../errors.ts";
import { forward, kvDimOf, mallocRunState, type Transformer, type TransformerWeights } from "../llama2/transformer.ts";
import { tracedForward } from "./forward.ts";
import { type Place, type StopId, shapeOf, stopOf, type TensorName } from "./stops.ts";

/** A copy of a tensor at a stop. */
export interface Tensor {
  name: TensorName;
  shape: number[];
  values: Float32Array;
}

/** A stop that was reached. `layer` is -1 outside the layers. */
export interface Stop extends Place {
  tensors: Tensor[];
  /** Whether the backend fuses this line with others and so never has these values. There are no tensors then. */
  fused?: true;
}

/** One token's pass through the model: all its stops, in order. */
export interface Pass {
  token: number;
  pos: number;
  stops: Stop[];
}

/** Where a hook is called. `head` is -1 except for scores and probs, which come head by head. */
export interface HookPlace extends Place {
  head: number;
  tensor: TensorName;
  token: number;
  pos: number;
}

/** Reads the values of a stop, and may change them: forward continues with the changed values. */
export type Hook = (values: Float32Array, at: HookPlace) => void;
export type Hooks = Partial<Record<StopId, Hook>>;

/** @throws Llama2Error E_USAGE if it is not an array of stops */
export function checkStops(stops: unknown): void {
  const isStop = (stop: unknown) => Array.isArray((stop as Partial<Stop> | null)?.tensors);
  checkThat("a trace", stops, Array.isArray(stops) && Array.from(stops).every(isStop), "an array of stops");
}

/** @throws Llama2Error E_USAGE if it is not a TracedRun */
export function checkRun(run: unknown): void {
  checkThat("run", run, run instanceof TracedRun, "a TracedRun");
}

/** @throws Llama2Error E_USAGE if it is not a place in a run */
export function checkPlace(place: unknown): void {
  checkThat("the place", place, typeof place === "object" && place !== null, "an object such as { id, layer }");
}

/** The most bytes of passes to keep: the bundled model's whole context. Others are recomputed on demand. */
const KEPT_BYTES = 100e6;

const bytesOf = ({ stops }: Pass): number =>
  stops.reduce((sum, { tensors }) => tensors.reduce((sum, { values }) => sum + values.byteLength, sum), 0);

/**
 * One sequence of one model. Its tokens are read one by one by the reference's forward. Any position that was read can
 * then be traced any number of times, with the same result: everything before it is in the KV cache. Without hooks,
 * reading is `forward` itself.
 */
export class TracedRun {
  readonly transformer: Transformer;
  /** The tokens read so far. */
  readonly tokens: number[] = [];
  /** The logits after the last of them, (vocabSize). */
  readonly logits: Float32Array;
  private readonly hooks: Hooks;
  private readonly passes = new Map<number, Pass>();
  private keptBytes = 0;

  constructor({ config, weights }: { config: Transformer["config"]; weights: TransformerWeights }, hooks: Hooks = {}) {
    this.transformer = { config, weights, state: mallocRunState(config) };
    this.hooks = hooks;
    this.logits = new Float32Array(config.vocabSize);
  }

  /**
   * Read the next token. Then `logits` are those after it.
   * @throws Llama2Error E_CONTEXT if the context is full, E_USAGE for a token out of range
   */
  read(token: number): void {
    const { seqLen, vocabSize } = this.transformer.config;
    const pos = this.tokens.length;
    if (pos >= seqLen) throw new Llama2Error("E_CONTEXT", `the context of ${seqLen} positions is full`);
    if (!Number.isInteger(token) || token < 0 || token >= vocabSize) {
      throw new Llama2Error("E_USAGE", `the token ${token} is out of range: expected 0 to ${vocabSize - 1}`);
    }
    this.tokens.push(token);
    this.logits.set(this.forward(token, pos));
  }

  /** All stops of a position. @throws Llama2Error E_USAGE if it was not read */
  at(pos: number): Pass {
    if (!Number.isInteger(pos) || !(pos in this.tokens)) {
      throw new Llama2Error("E_USAGE", `position ${show(pos)} was not read: there are 0 to ${this.tokens.length - 1}`);
    }
    const known = this.passes.get(pos);
    const pass = known ?? this.trace(pos);
    if (!known) this.keptBytes += bytesOf(pass);
    this.passes.delete(pos); // put back below as the newest: the least recently used pass is dropped first
    this.passes.set(pos, pass);
    for (const [old, each] of this.passes) {
      if (this.keptBytes <= KEPT_BYTES || old === pos) break;
      this.passes.delete(old);
      this.keptBytes -= bytesOf(each);
    }
    return pass;
  }

  /** A tensor of a stop, with the values that `at` returns. @throws Llama2Error E_USAGE */
  values(pos: number, { id, layer }: Place, tensor: TensorName = stopOf(id).tensors[0]): Float32Array {
    const cached = this.passes.has(pos) ? undefined : this.cached(pos, id, layer, tensor);
    if (cached) return cached;
    const stop = this.at(pos).stops.find((stop) => stop.id === id && stop.layer === layer);
    const found = stop?.tensors.find(({ name }) => name === tensor);
    if (!found) throw new Llama2Error("E_USAGE", `there is no ${tensor} at ${id} of layer ${layer}`);
    return found.values;
  }

  /** Whether a hook may change the values of this stop. */
  isHooked(id: StopId): boolean {
    return this.hooks[id] !== undefined;
  }

  /** Keys and values from the KV cache, where they are as after their last stop: sums over positions need no passes. */
  private cached(pos: number, id: StopId, layer: number, tensor: TensorName): Float32Array | undefined {
    const { config, state } = this.transformer;
    const name = `${id}.${tensor}`;
    const cache = name === "v.v" ? state.valueCache : name === "rope.k" ? state.keyCache : undefined;
    const isThere = Number.isInteger(pos) && pos in this.tokens && layer >= 0 && layer < config.nLayers;
    if (!cache || !isThere) return undefined;
    const kvDim = kvDimOf(config);
    const at = (layer * config.seqLen + pos) * kvDim;
    return cache.slice(at, at + kvDim);
  }

  private forward(token: number, pos: number): Float32Array {
    if (Object.keys(this.hooks).length === 0) return forward(this.transformer, token, pos);
    return tracedForward((...stop) => this.change(token, pos, ...stop), this.transformer, token, pos);
  }

  private change(token: number, pos: number, id: StopId, layer: number, head: number, ...values: Float32Array[]): void {
    const hook = this.hooks[id];
    if (!hook) return;
    const { tensors } = stopOf(id);
    for (const [i, tensor] of tensors.entries()) hook(values[i], { id, layer, head, tensor, token, pos });
  }

  private trace(pos: number): Pass {
    const { config } = this.transformer;
    const token = this.tokens[pos];
    const stops: Stop[] = [];
    const onStop = (id: StopId, layer: number, head: number, ...values: Float32Array[]) => {
      this.change(token, pos, id, layer, head, ...values);
      let stop = stops.find((stop) => stop.id === id && stop.layer === layer);
      if (!stop) {
        const tensors = stopOf(id).tensors.map((name) => {
          const shape = shapeOf(name, config, pos);
          return { name, shape, values: new Float32Array(shape.reduce((a, b) => a * b)) };
        });
        stop = { id, layer, tensors };
        stops.push(stop);
      }
      // a head's row of att, or all of any other tensor
      for (const [i, { values: copy }] of stop.tensors.entries())
        copy.set(values[i], Math.max(head, 0) * values[i].length);
    };
    tracedForward(onStop, this.transformer, token, pos);
    return { token, pos, stops };
  }
}
