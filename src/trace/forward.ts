/*
 * Generated from src/llama2/transformer.ts by scripts/build-trace.mjs: `npm run build` rewrites it. Do not edit.
 *
 * It has every line of forward, unchanged. Only the lines that begin with `stop(` are added.
 */
import { expf, f32 } from "../llama2/math.ts";
import {
  copyRow,
  headSizeOf,
  kvDimOf,
  matmul,
  rmsnorm,
  ropeAngles,
  softmax,
  type Transformer,
} from "../llama2/transformer.ts";
import type { StopId } from "./stops.ts";

/**
 * Called after a line of interest, when all values that it writes are complete. `values` are the arrays that forward
 * itself uses. In attention it is called for each head, with that head's row.
 */
export type OnStop = (id: StopId, layer: number, head: number, ...values: Float32Array[]) => void;

/** The line of src/llama2/transformer.ts that each stop shows. */
export const LINES: Record<StopId, { line: number; text: string }> = {
  embed: { line: 245, text: "copyRow(x, w.tokenEmbeddingTable, token);" },
  norm1: { line: 251, text: "rmsnorm(s.xb, x, w.rmsAttWeight[l], p.normEps);" },
  q: { line: 259, text: "matmul(s.q, s.xb, w.wq[l]);" },
  k: { line: 260, text: "matmul(s.k, s.xb, w.wk[l]);" },
  v: { line: 261, text: "matmul(s.v, s.xb, w.wv[l]);" },
  rope: { line: 274, text: "vec[i] = f32(v0 * fcr) - f32(v1 * fci);" },
  scores: { line: 296, text: "att[t] = score / f32(Math.sqrt(headSize));" },
  probs: { line: 300, text: "softmax(att, pos + 1);" },
  mix: { line: 308, text: "xb[i] += f32(a * s.valueCache[v + i]);" },
  proj: { line: 314, text: "matmul(s.xb2, s.xb, w.wo[l]);" },
  res1: { line: 318, text: "x[i] += s.xb2[i];" },
  norm2: { line: 322, text: "rmsnorm(s.xb, x, w.rmsFfnWeight[l], p.normEps);" },
  gate: { line: 326, text: "matmul(s.hb, s.xb, w.w1[l]);" },
  up: { line: 327, text: "matmul(s.hb2, s.xb, w.w3[l]);" },
  act: { line: 336, text: "s.hb[i] = val * s.hb2[i];" },
  down: { line: 340, text: "matmul(s.xb, s.hb, w.w2[l]);" },
  res2: { line: 344, text: "x[i] += s.xb[i];" },
  normOut: { line: 350, text: "rmsnorm(x, x, w.rmsFinalWeight, p.normEps);" },
  logits: { line: 353, text: "matmul(s.logits, x, w.wcls);" },
};

/** `forward` of transformer.ts, line by line, with its stops. The same bits. */
export function tracedForward(
  stop: OnStop,
  transformer: Transformer,
  token: number,
  pos: number,
  classify = true,
): Float32Array {
  // a few convenience variables
  const { config: p, weights: w, state: s } = transformer;
  const { dim, hiddenDim } = p;
  const x = s.x;
  const headSize = headSizeOf(p);
  const kvDim = kvDimOf(p);
  const kvMul = p.nHeads / p.nKvHeads; // how many query heads share a key/value head

  // copy the token embedding into x
  copyRow(x, w.tokenEmbeddingTable, token);
  stop("embed", -1, -1, x);
  ropeAngles(s.fcr, s.fci, pos, s.freq);

  // forward all the layers
  for (let l = 0; l < p.nLayers; l++) {
    // attention rmsnorm
    rmsnorm(s.xb, x, w.rmsAttWeight[l], p.normEps);
    stop("norm1", l, -1, s.xb);

    // key and value point to the kv cache
    const loff = l * p.seqLen * kvDim; // kv cache layer offset for convenience
    s.k = s.keyCache.subarray(loff + pos * kvDim, loff + (pos + 1) * kvDim);
    s.v = s.valueCache.subarray(loff + pos * kvDim, loff + (pos + 1) * kvDim);

    // qkv matmuls for this position
    matmul(s.q, s.xb, w.wq[l]);
    stop("q", l, -1, s.q);
    matmul(s.k, s.xb, w.wk[l]);
    stop("k", l, -1, s.k);
    matmul(s.v, s.xb, w.wv[l]);
    stop("v", l, -1, s.v);

    // RoPE relative positional encoding: rotate each pair of q and k by an angle that grows with the position.
    // The dot product of two rotated vectors depends on the *difference* of their angles, so a score knows how
    // far back a key lies. Values are not rotated: they are what is carried over, not what is compared.
    for (let i = 0; i < dim; i += 2) {
      const fcr = s.fcr[(i % headSize) / 2];
      const fci = s.fci[(i % headSize) / 2];
      const rotn = i < kvDim ? 2 : 1; // how many vectors? 2 = q & k, 1 = q only
      for (let v = 0; v < rotn; v++) {
        const vec = v === 0 ? s.q : s.k; // the vector to rotate (query or key)
        const v0 = vec[i];
        const v1 = vec[i + 1];
        vec[i] = f32(v0 * fcr) - f32(v1 * fci);
        vec[i + 1] = f32(v0 * fci) + f32(v1 * fcr);
      }
    }
    stop("rope", l, -1, s.q, s.k);

    // multihead attention: each head looks back on its own
    for (let h = 0; h < p.nHeads; h++) {
      // the query of this head, the place for its scores, and for what it brings back
      const q = s.q.subarray(h * headSize, (h + 1) * headSize);
      const att = s.att.subarray(h * p.seqLen, h * p.seqLen + pos + 1);
      const xb = s.xb.subarray(h * headSize, (h + 1) * headSize);
      // where the keys and values of its group of heads begin
      const group = loff + Math.floor(h / kvMul) * headSize;

      // how well does each position, the current one included, answer the query?
      for (let t = 0; t <= pos; t++) {
        const k = group + t * kvDim;
        let score = 0;
        for (let i = 0; i < headSize; i++) {
          score = f32(score + f32(q[i] * s.keyCache[k + i]));
        }
        // without the division scores would grow with the head size, and softmax would look at one position only
        att[t] = score / f32(Math.sqrt(headSize));
      }
      stop("scores", l, h, att);

      // softmax the scores to get attention weights
      softmax(att, pos + 1);
      stop("probs", l, h, att);

      // weighted sum of the values, back into xb
      xb.fill(0);
      for (let t = 0; t <= pos; t++) {
        const v = group + t * kvDim;
        const a = att[t];
        for (let i = 0; i < headSize; i++) {
          xb[i] += f32(a * s.valueCache[v + i]);
        }
      }
    }
    stop("mix", l, -1, s.xb);

    // final matmul: mix what the heads have found
    matmul(s.xb2, s.xb, w.wo[l]);
    stop("proj", l, -1, s.xb2);

    // residual connection back into x: a layer adds to what the token was, it does not replace it
    for (let i = 0; i < dim; i++) {
      x[i] += s.xb2[i];
    }
    stop("res1", l, -1, x);

    // ffn rmsnorm
    rmsnorm(s.xb, x, w.rmsFfnWeight[l], p.normEps);
    stop("norm2", l, -1, s.xb);

    // the feed-forward network: w2(silu(w1(x)) * w3(x)). Attention moved information between positions; this
    // works on each position alone, and most of what a model knows is said to sit here.
    matmul(s.hb, s.xb, w.w1[l]);
    stop("gate", l, -1, s.hb);
    matmul(s.hb2, s.xb, w.w3[l]);
    stop("up", l, -1, s.hb2);

    // SwiGLU non-linearity: silu(w1(x)), near 0 for negative numbers and near the number itself for positive
    // ones, is a gate that lets through more or less of w3(x)
    for (let i = 0; i < hiddenDim; i++) {
      let val = s.hb[i];
      // silu(x) = x * σ(x), where σ(x) is the logistic sigmoid
      val = f32(val * f32(1 / f32(1 + expf(-val))));
      // elementwise multiply with w3(x)
      s.hb[i] = val * s.hb2[i];
    }
    stop("act", l, -1, s.hb);

    // final matmul to get the output of the ffn
    matmul(s.xb, s.hb, w.w2[l]);
    stop("down", l, -1, s.xb);

    // residual connection
    for (let i = 0; i < dim; i++) {
      x[i] += s.xb[i];
    }
    stop("res2", l, -1, x);
  }
  if (!classify) return s.logits;

  // final rmsnorm
  rmsnorm(x, x, w.rmsFinalWeight, p.normEps);
  stop("normOut", -1, -1, x);

  // classifier into logits
  matmul(s.logits, x, w.wcls);
  stop("logits", -1, -1, s.logits);
  return s.logits;
}
