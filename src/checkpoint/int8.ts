/*
 * Rounds float32 weights to int8, also while a model is loaded.
 */
import { Llama2Error } from "../errors.ts";
import { f32, rintf } from "../llama2/math.ts";
import { defaultGroupSize, mallocQuantized, type QuantizedTensor } from "../llama2/quantize.ts";
import { floatPieces, isVector, type Piece, type TensorName, type WeightSource } from "../llama2/weights.ts";

/**
 * Round weights to int8 as llama2.c's export.py does (quantize_q80): symmetric, the largest of each group becomes
 * 127, and halves go to the even number. (Activations round halves away from zero: `quantize` of quantize.ts.)
 */
export function quantizeWeights(w: Float32Array, groupSize: number): QuantizedTensor {
  const quantized = mallocQuantized(w.length, groupSize);
  const { q, s } = quantized;
  for (let group = 0; group < s.length; group++) {
    const start = group * groupSize;
    const end = start + groupSize;
    let wmax = 0;
    for (let i = start; i < end; i++) {
      wmax = Math.max(wmax, Math.abs(w[i]));
    }
    const scale = f32(wmax / 127);
    s[group] = scale;
    for (let i = start; i < end; i++) {
      q[i] = rintf(f32(w[i] / scale)); // a group of zeros: 0 / 0 is stored as 0
    }
  }
  return quantized;
}

/**
 * The same model with its float32 matrices as int8, in the groups and bits that `quantize` writes. Matrices that are
 * int8 already stay as they are.
 */
export function asInt8(source: WeightSource): WeightSource {
  const { config, sharedClassifier } = source;
  const groupSize = defaultGroupSize(config);
  const isRounded = (name: TensorName) => !isVector(name) && source.formatOf(name) === "float32";
  return {
    config,
    sharedClassifier,
    formatOf: (name) => (isRounded(name) ? { groupSize } : source.formatOf(name)),
    pieces: (name, layer, multipleOf) =>
      isRounded(name) ? rounded(source, name, layer, groupSize, multipleOf) : source.pieces(name, layer, multipleOf),
  };
}

/** @throws Llama2Error E_NUMERIC for weights that are NaN or infinite */
async function* rounded(
  source: WeightSource,
  name: TensorName,
  layer: number,
  groupSize: number,
  multipleOf: number,
): AsyncGenerator<Piece, void> {
  for await (const { offset, values } of floatPieces(source, name, layer, leastCommonMultiple(groupSize, multipleOf))) {
    const { q, s } = quantizeWeights(values, groupSize);
    if (!s.every(Number.isFinite)) {
      throw new Llama2Error("E_NUMERIC", `${name} of layer ${layer} has weights that are NaN or infinite`);
    }
    yield { offset, q, scales: s };
  }
}

export const leastCommonMultiple = (a: number, b: number): number => (a / greatestCommonDivisor(a, b)) * b;
const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? a : greatestCommonDivisor(b, a % b));
