/*
 * Llama 2 in float64, written as simply as possible: all positions at once, one matrix after another, so that only some
 * rows of a model are in memory.
 *
 * It repeats `rotate` and `attention` on purpose: conversions are proved against it, so it shares no code with the
 * reference, nor with streamed.ts.
 */
import type { Config } from "../llama2/transformer.ts";
import type { TensorName } from "../llama2/weights.ts";
import type { RowPiece } from "./originals.ts";

/** The rows of the tensors of a model. */
export interface RowSource {
  readonly halfSplit: boolean;
  rows(name: TensorName, layer: number, d: number, n: number): AsyncIterable<RowPiece>;
}

/**
 * The logits after each of `tokens`, (vocabSize) each.
 * @param classifier the tensor that computes them: "wcls", or the embedding table if it is shared
 */
export async function naiveLogits(
  source: RowSource,
  p: Config,
  classifier: "wcls" | "tokenEmbeddingTable",
  tokens: readonly number[],
): Promise<Float64Array[]> {
  const { dim, hiddenDim } = p;
  const kvDim = (dim / p.nHeads) * p.nKvHeads;

  const matmul = async (name: TensorName, layer: number, d: number, xs: readonly Float64Array[]) => {
    const n = xs[0].length;
    const ys = xs.map(() => new Float64Array(d));
    for await (const { first, rows } of source.rows(name, layer, d, n)) {
      for (let row = 0; row * n < rows.length; row++) {
        const w = rows.subarray(row * n, (row + 1) * n);
        xs.forEach((x, position) => {
          let sum = 0;
          for (let i = 0; i < n; i++) sum += w[i] * x[i];
          ys[position][first + row] = sum;
        });
      }
    }
    return ys;
  };
  const normalized = async (name: TensorName, layer: number, xs: readonly Float64Array[]) => {
    let gain = new Float64Array();
    for await (const { rows } of source.rows(name, layer, 1, dim)) gain = rows as Float64Array<ArrayBuffer>;
    return xs.map((x) => {
      const meanSquare = x.reduce((sum, value) => sum + value * value, 0) / dim;
      return x.map((value, i) => (gain[i] * value) / Math.sqrt(meanSquare + p.normEps));
    });
  };
  const add = (xs: readonly Float64Array[], ys: readonly Float64Array[]) =>
    xs.map((x, position) => x.map((value, i) => value + ys[position][i]));

  let xs = await embeddings(source, p, tokens);
  for (let layer = 0; layer < p.nLayers; layer++) {
    const a = await normalized("rmsAttWeight", layer, xs);
    const q = await matmul("wq", layer, dim, a);
    const k = await matmul("wk", layer, kvDim, a);
    const v = await matmul("wv", layer, kvDim, a);
    for (const vectors of [q, k]) {
      vectors.forEach((vector, position) => {
        rotate(vector, position, p, source.halfSplit);
      });
    }
    xs = add(xs, await matmul("wo", layer, dim, attention(q, k, v, p)));

    const f = await normalized("rmsFfnWeight", layer, xs);
    const gate = await matmul("w1", layer, hiddenDim, f);
    const up = await matmul("w3", layer, hiddenDim, f);
    const inner = gate.map((g, position) => g.map((x, i) => (x / (1 + Math.exp(-x))) * up[position][i]));
    xs = add(xs, await matmul("w2", layer, dim, inner));
  }
  return matmul(classifier, 0, p.vocabSize, await normalized("rmsFinalWeight", 0, xs));
}

async function embeddings(source: RowSource, p: Config, tokens: readonly number[]): Promise<Float64Array[]> {
  const found = new Map<number, Float64Array>();
  for await (const { first, rows } of source.rows("tokenEmbeddingTable", 0, p.vocabSize, p.dim)) {
    const count = rows.length / p.dim;
    for (const token of tokens) {
      const row = token - first;
      if (row >= 0 && row < count) found.set(token, rows.slice(row * p.dim, (row + 1) * p.dim));
    }
  }
  return tokens.map((token) => found.get(token) as Float64Array);
}

/** RoPE: rotate the pairs of each head. */
function rotate(vector: Float64Array, position: number, p: Config, halfSplit: boolean): void {
  const headSize = p.dim / p.nHeads;
  const half = headSize / 2;
  for (let head = 0; head < vector.length; head += headSize) {
    for (let pair = 0; pair < half; pair++) {
      const [i, j] = halfSplit ? [head + pair, head + pair + half] : [head + 2 * pair, head + 2 * pair + 1];
      const angle = position * p.ropeTheta ** (-pair / half);
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      [vector[i], vector[j]] = [vector[i] * cos - vector[j] * sin, vector[i] * sin + vector[j] * cos];
    }
  }
}

/** The attention output of each position, all heads: a weighted sum of the values up to that position. */
function attention(
  q: readonly Float64Array[],
  k: readonly Float64Array[],
  v: readonly Float64Array[],
  p: Config,
): Float64Array[] {
  const headSize = p.dim / p.nHeads;
  const sharing = p.nHeads / p.nKvHeads;
  return q.map((query, position) => {
    const result = new Float64Array(p.dim);
    for (let head = 0; head < p.nHeads; head++) {
      const own = query.subarray(head * headSize, (head + 1) * headSize);
      const from = Math.floor(head / sharing) * headSize;
      const scores = k.slice(0, position + 1).map((key) => {
        let sum = 0;
        for (let i = 0; i < headSize; i++) sum += own[i] * key[from + i];
        return sum / Math.sqrt(headSize);
      });
      const largest = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - largest));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      weights.forEach((weight, t) => {
        for (let i = 0; i < headSize; i++) result[head * headSize + i] += (weight / total) * v[t][from + i];
      });
    }
    return result;
  });
}
