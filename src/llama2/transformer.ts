/*
 * The Llama 2 transformer: run.c's first half, function by function, in its order and its words.
 *
 * A transformer turns a row of tokens into one number per word of its vocabulary: the logits, how much each
 * word would like to come next. It reads one token at a time. What it has read is kept as two lists, the keys
 * and the values; the newest token looks back at them, takes what it needs, and adds its own pair.
 *
 * Every float operation below rounds to float32 in the order in which C would, so the logits are those of
 * run.c bit for bit. See math.ts for what `f32` means. "run.c 182" names the line of the original
 * (github.com/karpathy/llama2.c at 350e04f) where the function it translates begins.
 */
import { cosf, expf, f32, powf, sinf } from "./math.ts";

// ----------------------------------------------------------------------------
// Transformer model

/** The architecture. run.c 19; `normEps` and `ropeTheta` are constants there, but real models differ. */
export interface Config {
  dim: number; // transformer dimension: the length of the vector that carries a token through all layers
  hiddenDim: number; // the longer vector inside the feed-forward network
  nLayers: number; // how many times attention and feed-forward follow each other
  nHeads: number; // query heads: parts of the vector that look back independently
  nKvHeads: number; // key/value heads: fewer than nHeads when groups of query heads share them
  vocabSize: number; // how many tokens there are
  seqLen: number; // the most positions a sequence can have: the context
  normEps: number; // keeps rmsnorm from dividing by zero
  ropeTheta: number; // the base of RoPE's wavelengths
}

/** llama2.c's values for what its checkpoints do not store. */
export const DEFAULTS = { normEps: f32(1e-5), ropeTheta: 10000 } as const;

/** The learned numbers. For Matrix see matmul below. run.c 29. */
export interface TransformerWeights {
  // a vector for each token
  tokenEmbeddingTable: Matrix; // (vocabSize, dim)
  // weights for the rmsnorms
  rmsAttWeight: Float32Array[]; // (nLayers, dim)
  rmsFfnWeight: Float32Array[]; // (nLayers, dim)
  // weights for the attention's matmuls
  wq: Matrix[]; // (nLayers, dim, dim)
  wk: Matrix[]; // (nLayers, kvDim, dim)
  wv: Matrix[]; // (nLayers, kvDim, dim)
  wo: Matrix[]; // (nLayers, dim, dim)
  // weights for the feed-forward network
  w1: Matrix[]; // (nLayers, hiddenDim, dim)
  w2: Matrix[]; // (nLayers, dim, hiddenDim)
  w3: Matrix[]; // (nLayers, hiddenDim, dim)
  // the last rmsnorm
  rmsFinalWeight: Float32Array; // (dim)
  // the classifier, which makes logits; often the embedding table itself
  wcls: Matrix; // (vocabSize, dim)
}

/** The activations of the current token, and the KV cache of the tokens before it. run.c 50. */
export interface RunState {
  // the current wave of activations
  x: Float32Array; // (dim) the residual stream: what this token is by now
  xb: Float32Array; // (dim) the same, inside a branch
  xb2: Float32Array; // (dim) a second buffer for the branch
  hb: Float32Array; // (hiddenDim) inside the feed-forward network
  hb2: Float32Array; // (hiddenDim)
  q: Float32Array; // (dim) query: what this token looks for
  k: Float32Array; // (kvDim) key: what it can be found by; a row of keyCache
  v: Float32Array; // (kvDim) value: what it has to give; a row of valueCache
  freq: Float32Array; // (headSize / 2) radians per position by which RoPE rotates each pair of a head
  fcr: Float32Array; // (headSize / 2) cosines of this position's RoPE angles
  fci: Float32Array; // (headSize / 2) sines
  att: Float32Array; // (nHeads, seqLen) attention scores, then weights
  logits: Float32Array; // (vocabSize)
  // the kv cache
  keyCache: Float32Array; // (nLayers, seqLen, kvDim)
  valueCache: Float32Array; // (nLayers, seqLen, kvDim)
}

/** A model at work. run.c 67. */
export interface Transformer {
  config: Config;
  weights: TransformerWeights;
  state: RunState;
}

export const headSizeOf = (p: Config): number => p.dim / p.nHeads;
export const kvDimOf = (p: Config): number => headSizeOf(p) * p.nKvHeads;

/** run.c 77: malloc_run_state. */
export function mallocRunState(p: Config): RunState {
  const kvDim = kvDimOf(p);
  const keyCache = new Float32Array(p.nLayers * p.seqLen * kvDim);
  const valueCache = new Float32Array(p.nLayers * p.seqLen * kvDim);
  return {
    x: new Float32Array(p.dim),
    xb: new Float32Array(p.dim),
    xb2: new Float32Array(p.dim),
    hb: new Float32Array(p.hiddenDim),
    hb2: new Float32Array(p.hiddenDim),
    q: new Float32Array(p.dim),
    k: keyCache.subarray(0, kvDim),
    v: valueCache.subarray(0, kvDim),
    freq: ropeFrequencies(p),
    fcr: new Float32Array(headSizeOf(p) / 2),
    fci: new Float32Array(headSizeOf(p) / 2),
    att: new Float32Array(p.nHeads * p.seqLen),
    logits: new Float32Array(p.vocabSize),
    keyCache,
    valueCache,
  };
}

// ----------------------------------------------------------------------------
// neural net blocks; the dynamics of the Transformer

/**
 * run.c 182: rmsnorm. Scale x so that its root mean square is one, then each number by its learned gain.
 * It keeps the residual stream, which every layer adds to, from growing out of hand. o may be x.
 */
export function rmsnorm(o: Float32Array, x: Float32Array, weight: Float32Array, eps: number): void {
  const size = weight.length;
  // calculate the sum of squares
  let ss = 0;
  for (let j = 0; j < size; j++) {
    ss = f32(ss + f32(x[j] * x[j]));
  }
  ss = f32(ss / size);
  ss = f32(ss + eps);
  ss = f32(1 / f32(Math.sqrt(ss)));
  // normalize and scale
  for (let j = 0; j < size; j++) {
    o[j] = weight[j] * f32(ss * x[j]);
  }
}

/**
 * run.c 197: softmax, in place. Turn scores into weights that are positive and sum to one: e^score over the
 * sum of them all. Subtracting the largest score first changes nothing but keeps e^score from overflowing.
 */
export function softmax(x: Float32Array, size: number): void {
  // find the max value (for numerical stability)
  let maxVal = x[0];
  for (let i = 1; i < size; i++) {
    if (x[i] > maxVal) {
      maxVal = x[i];
    }
  }
  // exp and sum
  let sum = 0;
  for (let i = 0; i < size; i++) {
    x[i] = expf(f32(x[i] - maxVal));
    sum = f32(sum + x[i]);
  }
  // normalize
  for (let i = 0; i < size; i++) {
    x[i] /= sum;
  }
}

/** A matrix as C keeps it: d rows of n numbers, one row after the other. */
export interface Rows {
  data: Float32Array; // (d, n)
  d: number;
  n: number;
}

/**
 * A matrix that is stored in another way, with its own matmul and copyRow. Their results are those of the functions
 * below, bit for bit if the numbers are float32. See quantize.ts for int8, and src/backend/ts for rows in panels.
 */
export interface Packed {
  matmul(xout: Float32Array, x: Float32Array): void;
  copyRow(xout: Float32Array, row: number): void;
}

export type Matrix = Rows | Packed;

/**
 * run.c 217: matmul. w (d, n) @ x (n) -> xout (d). Each number of xout is the dot product of a row with x.
 * By far the most time is spent in this little function.
 */
export function matmul(xout: Float32Array, x: Float32Array, w: Matrix): void {
  if ("matmul" in w) {
    w.matmul(xout, x); // it is packed, and knows how
    return;
  }
  const { data, d, n } = w;
  for (let i = 0; i < d; i++) {
    let val = 0;
    for (let j = 0; j < n; j++) {
      val = f32(val + f32(data[i * n + j] * x[j]));
    }
    xout[i] = val;
  }
}

/** Copy a row of w (d, n) into xout (n): run.c's memcpy of a token's embedding (246). */
export function copyRow(xout: Float32Array, w: Matrix, row: number): void {
  if ("copyRow" in w) w.copyRow(xout, row);
  else xout.set(w.data.subarray(row * w.n, (row + 1) * w.n));
}

/**
 * The radians per position by which RoPE rotates each pair of numbers of a head, (headSize / 2). run.c computes them
 * inside its loop (265), but they depend only on the model.
 *
 * The first pair rotates by one radian per position, the last by about 1/ropeTheta. They are like the hands of a clock:
 * fast ones distinguish near positions, slow ones far ones.
 */
export function ropeFrequencies(p: Config): Float32Array {
  const headSize = headSizeOf(p);
  const freq = new Float32Array(headSize / 2);
  for (let headDim = 0; headDim < headSize; headDim += 2) {
    freq[headDim / 2] = 1 / powf(p.ropeTheta, f32(headDim / headSize));
  }
  return freq;
}

/**
 * The angles that those frequencies have reached at position `pos`: their cosines into fcr, their sines into fci,
 * (headSize / 2) each. run.c computes them inside its loop too; they are the same in every head and layer.
 */
export function ropeAngles(fcr: Float32Array, fci: Float32Array, pos: number, freq: Float32Array): void {
  for (let i = 0; i < freq.length; i++) {
    const val = f32(pos * freq[i]);
    fcr[i] = cosf(val);
    fci[i] = sinf(val);
  }
}

/**
 * run.c 231: forward. Read `token` at position `pos` and return the logits for the token after it, (vocabSize).
 *
 * The keys and values of all positions before `pos` must be in the cache, from earlier calls. The logits belong
 * to the state and are overwritten by the next call. With `classify` false the last, largest matmul is left out, as
 * for the tokens of a prompt, and what is returned are the logits of an earlier call.
 */
export function forward(transformer: Transformer, token: number, pos: number, classify = true): Float32Array {
  // a few convenience variables
  const { config: p, weights: w, state: s } = transformer;
  const { dim, hiddenDim } = p;
  const x = s.x;
  const headSize = headSizeOf(p);
  const kvDim = kvDimOf(p);
  const kvMul = p.nHeads / p.nKvHeads; // how many query heads share a key/value head

  // copy the token embedding into x
  copyRow(x, w.tokenEmbeddingTable, token);
  ropeAngles(s.fcr, s.fci, pos, s.freq);

  // forward all the layers
  for (let l = 0; l < p.nLayers; l++) {
    // attention rmsnorm
    rmsnorm(s.xb, x, w.rmsAttWeight[l], p.normEps);

    // key and value point to the kv cache
    const loff = l * p.seqLen * kvDim; // kv cache layer offset for convenience
    s.k = s.keyCache.subarray(loff + pos * kvDim, loff + (pos + 1) * kvDim);
    s.v = s.valueCache.subarray(loff + pos * kvDim, loff + (pos + 1) * kvDim);

    // qkv matmuls for this position
    matmul(s.q, s.xb, w.wq[l]);
    matmul(s.k, s.xb, w.wk[l]);
    matmul(s.v, s.xb, w.wv[l]);

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

      // softmax the scores to get attention weights
      softmax(att, pos + 1);

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

    // final matmul: mix what the heads have found
    matmul(s.xb2, s.xb, w.wo[l]);

    // residual connection back into x: a layer adds to what the token was, it does not replace it
    for (let i = 0; i < dim; i++) {
      x[i] += s.xb2[i];
    }

    // ffn rmsnorm
    rmsnorm(s.xb, x, w.rmsFfnWeight[l], p.normEps);

    // the feed-forward network: w2(silu(w1(x)) * w3(x)). Attention moved information between positions; this
    // works on each position alone, and most of what a model knows is said to sit here.
    matmul(s.hb, s.xb, w.w1[l]);
    matmul(s.hb2, s.xb, w.w3[l]);

    // SwiGLU non-linearity: silu(w1(x)), near 0 for negative numbers and near the number itself for positive
    // ones, is a gate that lets through more or less of w3(x)
    for (let i = 0; i < hiddenDim; i++) {
      let val = s.hb[i];
      // silu(x) = x * σ(x), where σ(x) is the logistic sigmoid
      val = f32(val * f32(1 / f32(1 + expf(-val))));
      // elementwise multiply with w3(x)
      s.hb[i] = val * s.hb2[i];
    }

    // final matmul to get the output of the ffn
    matmul(s.xb, s.hb, w.w2[l]);

    // residual connection
    for (let i = 0; i < dim; i++) {
      x[i] += s.xb[i];
    }
  }
  if (!classify) return s.logits;

  // final rmsnorm
  rmsnorm(x, x, w.rmsFinalWeight, p.normEps);

  // classifier into logits
  matmul(s.logits, x, w.wcls);
  return s.logits;
}
