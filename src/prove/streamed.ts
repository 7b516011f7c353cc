/*
 * run.c's float32 forward pass over a model that is not loaded: all positions at once, so that each piece of a matrix is
 * read once and then dropped. The bits are the reference's, since each logit is the same sum in the same order. `rotate`
 * and `attention` are the reference's lines again: its forward has them inside its loop over layers, for one position.
 */
import { expf, f32 } from "../llama2/math.ts";
import { dequantize } from "../llama2/quantize.ts";
import {
  type Config,
  headSizeOf,
  kvDimOf,
  matmul,
  rmsnorm,
  ropeAngles,
  ropeFrequencies,
  softmax,
} from "../llama2/transformer.ts";
import { groupSizeOf, type TensorName, type WeightSource } from "../llama2/weights.ts";

/**
 * The logits after each of `tokens`, (vocabSize) each. int8 matrices are dequantized to float32, and activations are not
 * rounded.
 */
export async function streamedLogits(source: WeightSource, tokens: readonly number[]): Promise<Float32Array[]> {
  const { config: p } = source;
  const { dim, hiddenDim } = p;
  const xs = await embeddings(source, tokens);
  const product = (name: TensorName, layer: number, d: number, inputs: readonly Float32Array[]) =>
    multiply(source, name, layer, d, inputs);

  for (let layer = 0; layer < p.nLayers; layer++) {
    const a = await normalized(source, "rmsAttWeight", layer, xs);
    const q = await product("wq", layer, dim, a);
    const k = await product("wk", layer, kvDimOf(p), a);
    const v = await product("wv", layer, kvDimOf(p), a);
    rotate(q, p);
    rotate(k, p);
    addTo(xs, await product("wo", layer, dim, attention(q, k, v, p)));

    const f = await normalized(source, "rmsFfnWeight", layer, xs);
    const gate = await product("w1", layer, hiddenDim, f);
    const up = await product("w3", layer, hiddenDim, f);
    gate.forEach((hb, pos) => {
      for (let i = 0; i < hiddenDim; i++) hb[i] = f32(hb[i] * f32(1 / f32(1 + expf(-hb[i])))) * up[pos][i];
    });
    addTo(xs, await product("w2", layer, dim, gate));
  }
  const last = await normalized(source, "rmsFinalWeight", 0, xs);
  return product(source.sharedClassifier ? "tokenEmbeddingTable" : "wcls", 0, p.vocabSize, last);
}

/** A tensor's numbers, some rows of n at a time. */
async function* rowsOf(source: WeightSource, name: TensorName, layer: number, n: number) {
  const groupSize = groupSizeOf(source.formatOf(name));
  for await (const piece of source.pieces(name, layer, n)) {
    if ("values" in piece) {
      yield piece;
      continue;
    }
    const values = new Float32Array(piece.q.length);
    dequantize({ q: piece.q, s: piece.scales, groupSize }, values, 0);
    yield { offset: piece.offset, values };
  }
}

async function multiply(
  source: WeightSource,
  name: TensorName,
  layer: number,
  d: number,
  xs: readonly Float32Array[],
): Promise<Float32Array[]> {
  const n = xs[0].length;
  const results = xs.map(() => new Float32Array(d));
  for await (const { offset, values } of rowsOf(source, name, layer, n)) {
    const [first, count] = [offset / n, values.length / n];
    xs.forEach((x, pos) => {
      matmul(results[pos].subarray(first, first + count), x, { data: values, d: count, n });
    });
  }
  return results;
}

async function embeddings(source: WeightSource, tokens: readonly number[]): Promise<Float32Array[]> {
  const { dim } = source.config;
  const found = tokens.map(() => new Float32Array(dim));
  for await (const { offset, values } of rowsOf(source, "tokenEmbeddingTable", 0, dim)) {
    tokens.forEach((token, pos) => {
      const at = token * dim - offset;
      if (at >= 0 && at < values.length) found[pos].set(values.subarray(at, at + dim));
    });
  }
  return found;
}

async function normalized(
  source: WeightSource,
  name: TensorName,
  layer: number,
  xs: readonly Float32Array[],
): Promise<Float32Array[]> {
  const { dim, normEps } = source.config;
  const gain = new Float32Array(dim);
  for await (const { offset, values } of rowsOf(source, name, layer, dim)) gain.set(values, offset);
  return xs.map((x) => {
    const result = new Float32Array(dim);
    rmsnorm(result, x, gain, normEps);
    return result;
  });
}

/** RoPE: rotate the pairs of all heads, as forward of llama2/transformer.ts, for all positions. */
function rotate(vectors: readonly Float32Array[], p: Config): void {
  const headSize = headSizeOf(p);
  const [cosines, sines] = [new Float32Array(headSize / 2), new Float32Array(headSize / 2)];
  const frequencies = ropeFrequencies(p);
  vectors.forEach((vector, pos) => {
    ropeAngles(cosines, sines, pos, frequencies);
    for (let i = 0; i < vector.length; i += 2) {
      const [cos, sin] = [cosines[(i % headSize) / 2], sines[(i % headSize) / 2]];
      const [v0, v1] = [vector[i], vector[i + 1]];
      vector[i] = f32(v0 * cos) - f32(v1 * sin);
      vector[i + 1] = f32(v0 * sin) + f32(v1 * cos);
    }
  });
}

function attention(
  q: readonly Float32Array[],
  k: readonly Float32Array[],
  v: readonly Float32Array[],
  p: Config,
): Float32Array[] {
  const headSize = headSizeOf(p);
  const kvMul = p.nHeads / p.nKvHeads;
  return q.map((query, pos) => {
    const result = new Float32Array(p.dim);
    const att = new Float32Array(pos + 1);
    for (let h = 0; h < p.nHeads; h++) {
      const group = Math.floor(h / kvMul) * headSize;
      for (let t = 0; t <= pos; t++) {
        let score = 0;
        for (let i = 0; i < headSize; i++) score = f32(score + f32(query[h * headSize + i] * k[t][group + i]));
        att[t] = score / f32(Math.sqrt(headSize));
      }
      softmax(att, pos + 1);
      for (let t = 0; t <= pos; t++) {
        for (let i = 0; i < headSize; i++) result[h * headSize + i] += f32(att[t] * v[t][group + i]);
      }
    }
    return result;
  });
}

function addTo(xs: readonly Float32Array[], ys: readonly Float32Array[]): void {
  xs.forEach((x, pos) => {
    for (let i = 0; i < x.length; i++) x[i] += ys[pos][i];
  });
}
