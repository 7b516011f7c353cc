/*
 * Models of seeded random weights, without a file: to measure speed at any shape, and to check backends. One block of
 * numbers is repeated, so making 27 GB of weights takes no longer than copying them.
 */
import { defaultGroupSize } from "../llama2/quantize.ts";
import type { Config } from "../llama2/transformer.ts";
import { type Format, isVector, shapesOf, type TensorName, type WeightSource } from "../llama2/weights.ts";
import { leastCommonMultiple, quantizeWeights } from "./int8.ts";

/** A prime, so that the rows of a matrix differ: 4 MiB of float32. */
const BLOCK = 1_048_573;
/** Each tensor of each layer begins at a different group of the block, one of this many. */
const STARTS = 251;

export interface RandomOptions {
  /** Whether the matrices are int8, in the groups that `quantize` makes. @default false: float32 */
  int8?: boolean;
  /** The classifier is the embedding table. @default true */
  sharedClassifier?: boolean;
  /** @default 1 */
  seed?: number;
}

/** A source of weights about as large as trained ones. The same arguments give the same weights on every machine. */
export function randomModel(config: Config, options: RandomOptions = {}): WeightSource {
  const { int8 = false, sharedClassifier = true, seed = 1 } = options;
  const block = uniform(BLOCK, seed);
  const groupSize = int8 ? defaultGroupSize(config) : 0;
  const shapes = shapesOf(config);
  const names = Object.keys(shapes);
  const rounded = int8 ? quantizeWeights(block.subarray(0, BLOCK - (BLOCK % groupSize)), groupSize) : undefined;
  const scaled = new Map<number, Float32Array>(); // the block, or its groups' scales, for each number of columns

  const scaledFor = (n: number) => {
    const known = scaled.get(n);
    if (known) return known;
    const made = (rounded?.s ?? block).map((value) => value / Math.sqrt(n));
    scaled.set(n, made);
    return made;
  };

  return {
    config,
    sharedClassifier,
    formatOf: (name): Format => (int8 && !isVector(name) ? { groupSize } : "float32"),
    async *pieces(name: TensorName, layer: number, multipleOf: number) {
      const { d, n } = shapes[name];
      const count = d * n;
      const unit = groupSize > 0 ? leastCommonMultiple(groupSize, multipleOf) : multipleOf;
      const start = ((names.indexOf(name) * 31 + layer * 7) % STARTS) * (groupSize || 1);
      if (isVector(name)) {
        yield { offset: 0, values: block.slice(start, start + n).map((value) => 1 + value / 16) };
        return;
      }
      const length = Math.floor((BLOCK - STARTS * (groupSize || 1)) / unit) * unit;
      const values = scaledFor(n);
      for (let offset = 0; offset < count; offset += length) {
        const end = start + Math.min(length, count - offset);
        if (!rounded) yield { offset, values: values.subarray(start, end) };
        else {
          const scales = values.subarray(start / groupSize, end / groupSize);
          yield { offset, q: rounded.q.subarray(start, end), scales };
        }
      }
    },
  };
}

/** Numbers from -1 to 1 (mulberry32). */
function uniform(count: number, seed: number): Float32Array {
  const numbers = new Float32Array(count);
  let state = seed >>> 0;
  for (let i = 0; i < count; i++) {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    numbers[i] = ((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1;
  }
  return numbers;
}
