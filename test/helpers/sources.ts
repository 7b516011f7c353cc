/*
 * Sources of weights other than files: seeded random models, and models whose weights a test changes.
 */
import { open } from "../../src/checkpoint/open.ts";
import { filesOf } from "../../src/files/bytes.ts";
import { type Config, DEFAULTS } from "../../src/llama2/transformer.ts";
import {
  floatPieces,
  isVector,
  type Piece,
  shapesOf,
  type TensorName,
  type WeightSource,
} from "../../src/llama2/weights.ts";
import { type CheckpointOptions, makeCheckpoint, type Shape } from "./checkpoint.ts";

/** A model that is opened when it is first read. */
export function randomModel(shape: Shape, options: CheckpointOptions = {}): WeightSource {
  const [dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen] = shape;
  const bytes = makeCheckpoint(shape, options);
  let opened: Promise<WeightSource> | undefined;
  return {
    config: { dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen, ...DEFAULTS },
    sharedClassifier: !options.untied,
    formatOf: () => "float32",
    async *pieces(name, layer, multipleOf) {
      opened ??= open(filesOf("model.bin", bytes));
      yield* (await opened).pieces(name, layer, multipleOf);
    },
  };
}

/** What becomes of a piece of a tensor. */
type Change = (piece: Piece, name: TensorName, layer: number) => Piece;

/** The same model, with `change` applied to each piece. */
export function changed(source: WeightSource, change: Change): WeightSource {
  return {
    config: source.config,
    sharedClassifier: source.sharedClassifier,
    formatOf: (name) => source.formatOf(name),
    async *pieces(name, layer, multipleOf) {
      for await (const piece of source.pieces(name, layer, multipleOf)) yield change(piece, name, layer);
    },
  };
}

/** The same model with its float32 tensors, or some of them, multiplied by a factor. */
export function scaled(source: WeightSource, factors: number | Partial<Record<TensorName, number>>): WeightSource {
  return changed(source, (piece, name) => {
    const factor = typeof factors === "number" ? factors : (factors[name] ?? 1);
    return "values" in piece ? { ...piece, values: piece.values.map((value) => value * factor) } : piece;
  });
}

/** All numbers of a float32 tensor of one layer. */
export async function wholeTensor(source: WeightSource, name: TensorName, layer = 0): Promise<Float32Array> {
  const { d, n } = shapesOf(source.config)[name];
  const whole = new Float32Array(d * n);
  for await (const { values, offset } of floatPieces(source, name, layer)) whole.set(values, offset);
  return whole;
}

/** The same model in which each row of the classifier, and so each logit, occurs `times` times in a row. */
export function withTies(source: WeightSource, times: number): WeightSource {
  const { dim, vocabSize } = source.config;
  const classifier = source.sharedClassifier ? "tokenEmbeddingTable" : "wcls";
  return {
    ...changed(source, (piece) => piece),
    async *pieces(name, layer, multipleOf) {
      if (name !== classifier) return yield* source.pieces(name, layer, multipleOf);
      const values = await wholeTensor(source, classifier);
      for (let row = 0; row < vocabSize; row++) {
        const first = row - (row % times);
        values.copyWithin(row * dim, first * dim, (first + 1) * dim);
      }
      yield { offset: 0, values };
    },
  };
}

/**
 * The same model in int8, handed over some groups at a time: all matrices in groups of `groupSizes`, or each in its
 * own,
 * where 0 leaves it float32. The groups are a little coarser than they could be, and the largest negative numbers are
 * -128, which no exporter writes and a file may hold.
 */
export function quantized(
  source: WeightSource,
  groupSizes: number | Partial<Record<TensorName, number>>,
): WeightSource {
  const groupSizeOf = (name: TensorName) => {
    if (isVector(name)) return 0;
    return typeof groupSizes === "number" ? groupSizes : (groupSizes[name] ?? 0);
  };
  return {
    config: source.config,
    sharedClassifier: source.sharedClassifier,
    formatOf: (name) => (groupSizeOf(name) === 0 ? "float32" : { groupSize: groupSizeOf(name) }),
    async *pieces(name, layer, multipleOf) {
      const groupSize = groupSizeOf(name);
      if (groupSize === 0) return yield* source.pieces(name, layer, multipleOf);
      const { q, scales } = quantizeCoarsely(await wholeTensor(source, name, layer), groupSize);
      const step = 7 * multipleOf; // groups of a piece, which are a multiple of multipleOf numbers
      for (let group = 0; group < scales.length; group += step) {
        const offset = group * groupSize;
        yield { offset, q: q.slice(offset, offset + step * groupSize), scales: scales.slice(group, group + step) };
      }
    },
  };
}

function quantizeCoarsely(values: Float32Array, groupSize: number): { q: Int8Array; scales: Float32Array } {
  const q = new Int8Array(values.length);
  const scales = new Float32Array(values.length / groupSize);
  for (let group = 0; group < scales.length; group++) {
    const start = group * groupSize;
    const max = Math.max(...values.subarray(start, start + groupSize).map(Math.abs));
    scales[group] = max / 128;
    for (let i = start; i < start + groupSize; i++) {
      q[i] = Math.max(-128, Math.min(127, Math.round(values[i] / scales[group])));
    }
  }
  return { q, scales };
}

/** A model that exists on paper: nothing of it may be read. */
export function paper(config: Partial<Config>, groupSize = 0): WeightSource {
  const llama7B = {
    dim: 4096,
    hiddenDim: 11008,
    nLayers: 32,
    nHeads: 32,
    nKvHeads: 32,
    vocabSize: 32000,
    seqLen: 2048,
  };
  return {
    config: { ...llama7B, ...DEFAULTS, ...config },
    sharedClassifier: false,
    formatOf: (name) => (groupSize === 0 || isVector(name) ? "float32" : { groupSize }),
    pieces() {
      throw new Error("the weights of a model on paper were read");
    },
  };
}
