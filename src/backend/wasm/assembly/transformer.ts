/*
 * The forward pass of llama2/transformer.ts, for a batch of entries at once, bit for bit.
 *
 * An entry is a token, its position and its sequence. The work between two barriers is split among the threads: by
 * entries, heads, or rows of a result. With a single entry, small work (an rmsnorm, rounding a vector) takes no longer
 * than a barrier, so each thread does it for itself, in a row of its own.
 */
import { expf } from "./math";
import {
  COLUMN,
  element,
  firstOf,
  firstRow,
  lastOf,
  lastRow,
  matrixBytes,
  PANEL,
  panelsOf,
  panelTimes,
  rowBytes,
} from "./matmul";
import * as model from "./model";
import { headSizeOf, kvDimOf } from "./model";
import { ropeAngles } from "./rope";
import { barrier } from "./team";
import { copyRow, matmul, share, shareRows } from "./weights";

// ----------------------------------------------------------------------------
// entries

function tokenOf(entry: i32): i32 {
  return load<i32>(model.batch + entry * 12);
}
function posOf(entry: i32): i32 {
  return load<i32>(model.batch + entry * 12, 4);
}
function sequenceOf(entry: i32): i32 {
  return load<i32>(model.batch + entry * 12, 8);
}

// ----------------------------------------------------------------------------
// the kv cache: for each sequence, layer and head two matrices that grow with every position

/** A head's keys (seqLen, headSize): a position is a row, so sixteen positions are scored at once. */
function keysOf(keyCache: usize, sequence: i32, l: i32, kvHead: i32): usize {
  const head = (sequence * model.nLayers + l) * model.nKvHeads + kvHead;
  return keyCache + head * matrixBytes(model.seqLen, headSizeOf());
}

/** A head's values (headSize, seqLen): a position is a column, since the sum is over positions. */
function valuesOf(valueCache: usize, sequence: i32, l: i32, kvHead: i32): usize {
  const head = (sequence * model.nLayers + l) * model.nKvHeads + kvHead;
  return valueCache + head * matrixBytes(headSizeOf(), model.seqLen);
}

// ----------------------------------------------------------------------------
// neural net blocks

/** run.c 182: rmsnorm. o may be x. */
function rmsnorm(o: usize, x: usize, weight: usize, size: i32): void {
  // calculate the sum of squares
  let ss: f32 = 0;
  for (let j = 0; j < size; j++) {
    const xj = load<f32>(x + (j << 2));
    ss += xj * xj;
  }
  ss /= <f32>size;
  ss += model.normEps;
  ss = <f32>1 / sqrt<f32>(ss);
  // normalize and scale
  const scale = f32x4.splat(ss);
  for (let j: usize = 0; j < rowBytes(size); j += 16) {
    v128.store(o + j, f32x4.mul(v128.load(weight + j), f32x4.mul(scale, v128.load(x + j))));
  }
}

/** run.c 197: softmax, in place. x has room for the next multiple of 16. */
export function softmax(x: usize, size: i32): void {
  padWithMinusInfinity(x, size);
  const bytes = rowBytes(size);
  // find the max value (for numerical stability); pmax is C's `if (x > max)`
  let max = v128.load_splat<f32>(x);
  for (let i: usize = 0; i < bytes; i += 16) {
    max = f32x4.pmax(max, v128.load(x + i));
  }
  max = f32x4.splat(largestLane(max));
  // exp and sum; e^-infinity is 0 and adds nothing
  let sum: f32 = 0;
  for (let i: usize = 0; i < bytes; i += 16) {
    const e = expf(f32x4.sub(v128.load(x + i), max));
    v128.store(x + i, e);
    sum += f32x4.extract_lane(e, 0);
    sum += f32x4.extract_lane(e, 1);
    sum += f32x4.extract_lane(e, 2);
    sum += f32x4.extract_lane(e, 3);
  }
  // normalize
  const total = f32x4.splat(sum);
  for (let i: usize = 0; i < bytes; i += 16) {
    v128.store(x + i, f32x4.div(v128.load(x + i), total));
  }
}

/** Fill the lanes after the last number of a row, so that whole vectors can be searched for the largest. */
export function padWithMinusInfinity(x: usize, size: i32): void {
  const end = x + rowBytes(size);
  for (let at = x + ((<usize>size) << 2); at < end; at += 4) store<f32>(at, -Infinity);
}

export function largestLane(x: v128): f32 {
  let max = f32x4.extract_lane(x, 0);
  if (f32x4.extract_lane(x, 1) > max) max = f32x4.extract_lane(x, 1);
  if (f32x4.extract_lane(x, 2) > max) max = f32x4.extract_lane(x, 2);
  if (f32x4.extract_lane(x, 3) > max) max = f32x4.extract_lane(x, 3);
  return max;
}

/** Rotate the pairs of this thread's rows of vec (entry, size), queries or keys, by the angles of their positions. */
function rope(vec: usize, size: i32, count: i32): void {
  const headSize = headSizeOf();
  const last = lastRow(size);
  for (let e = 0; e < count; e++) {
    const angles = <usize>e * (headSize << 1);
    for (let i = firstRow(size); i < last; i += 2) {
      const angle = angles + ((i % headSize) << 1);
      const fcr = load<f32>(model.fcr + angle);
      const fci = load<f32>(model.fci + angle);
      const at = vec + e * rowBytes(size) + (i << 2);
      const v0 = load<f32>(at);
      const v1 = load<f32>(at, 4);
      store<f32>(at, v0 * fcr - v1 * fci);
      store<f32>(at, v0 * fci + v1 * fcr, 4);
    }
  }
}

/** Write this thread's rows of the keys and values to the cache. */
function remember(keyCache: usize, valueCache: usize, l: i32, count: i32): void {
  const headSize = headSizeOf();
  const kvDim = kvDimOf();
  const last = lastRow(kvDim);
  for (let e = 0; e < count; e++) {
    const pos = posOf(e);
    const sequence = sequenceOf(e);
    const k = model.k + e * rowBytes(kvDim);
    const v = model.v + e * rowBytes(kvDim);
    for (let row = firstRow(kvDim); row < last; row++) {
      const i = row % headSize;
      const keys = keysOf(keyCache, sequence, l, row / headSize);
      const values = valuesOf(valueCache, sequence, l, row / headSize);
      store<f32>(element(keys, pos, i, headSize), load<f32>(k + (row << 2)));
      store<f32>(element(values, i, pos, model.seqLen), load<f32>(v + (row << 2)));
    }
  }
}

/** Whether this thread's heads read only rows of q, k and v that this thread has written. */
function headsAreOwn(count: i32): bool {
  const rows = (model.nKvHeads / model.threads) * headSizeOf();
  return count === 1 && model.nKvHeads % model.threads === 0 && rows % PANEL === 0;
}

/**
 * Multihead attention: each head looks back on its own. The threads split the heads of a single entry into ranges, and
 * take the heads of several entries in turn.
 */
function attention(keyCache: usize, valueCache: usize, l: i32, count: i32): void {
  if (count === 1) {
    const last = lastOf(model.nHeads);
    for (let h = firstOf(model.nHeads); h < last; h++) attend(keyCache, valueCache, l, 0, h);
  } else {
    for (let item = model.thread; item < count * model.nHeads; item += model.threads) {
      attend(keyCache, valueCache, l, item / model.nHeads, item % model.nHeads);
    }
  }
}

/** One head of an entry, from q into xb. */
function attend(keyCache: usize, valueCache: usize, l: i32, e: i32, h: i32): void {
  const headSize = headSizeOf();
  const kvMul = model.nHeads / model.nKvHeads; // how many query heads share a key/value head
  // this thread's scratch for the scores and the output of a head
  const att = model.att + model.thread * rowBytes(model.seqLen);
  const headXb = model.headXb + model.thread * rowBytes(headSize);
  const head = e * rowBytes(model.dim) + <usize>((h * headSize) << 2);
  const keys = keysOf(keyCache, sequenceOf(e), l, h / kvMul);
  const values = valuesOf(valueCache, sequenceOf(e), l, h / kvMul);
  const positions = posOf(e) + 1;

  // how well does each position, the current one included, answer the query?
  const scale = f32x4.splat(sqrt<f32>(<f32>headSize));
  for (let panel = 0; panel < panelsOf(positions); panel++) {
    const scores = att + panel * COLUMN;
    panelTimes(scores, model.q + head, keys + panel * matrixBytes(PANEL, headSize), headSize);
    for (let i: usize = 0; i < COLUMN; i += 16) {
      v128.store(scores + i, f32x4.div(v128.load(scores + i), scale));
    }
  }

  // softmax the scores to get attention weights
  softmax(att, positions);

  // weighted sum of the values, back into xb
  for (let panel = 0; panel < panelsOf(headSize); panel++) {
    panelTimes(headXb + panel * COLUMN, att, values + panel * matrixBytes(PANEL, model.seqLen), positions);
  }
  memory.copy(model.xb + head, headXb, headSize << 2);
}

/** Residual connection: x += xb, this thread's rows. */
function addResidual(x: usize, xb: usize, size: i32, count: i32): void {
  const first = (<usize>firstRow(size)) << 2;
  const last = (<usize>lastRow(size)) << 2;
  for (let e = 0; e < count; e++, x += rowBytes(size), xb += rowBytes(size)) {
    for (let i = first; i < last; i += 16) {
      v128.store(x + i, f32x4.add(v128.load(x + i), v128.load(xb + i)));
    }
  }
}

/** SwiGLU non-linearity: hb = silu(hb) * hb2, this thread's rows. */
function swiglu(hb: usize, hb2: usize, size: i32, count: i32): void {
  const one = f32x4.splat(1);
  const first = (<usize>firstRow(size)) << 2;
  const last = (<usize>lastRow(size)) << 2;
  for (let e = 0; e < count; e++, hb += rowBytes(size), hb2 += rowBytes(size)) {
    for (let i = first; i < last; i += 16) {
      const val = v128.load(hb + i);
      // silu(x) = x * σ(x), where σ(x) is the logistic sigmoid
      const sigmoid = f32x4.div(one, f32x4.add(one, expf(f32x4.neg(val))));
      v128.store(hb + i, f32x4.mul(f32x4.mul(val, sigmoid), v128.load(hb2 + i)));
    }
  }
}

/** rmsnorm of the rows of x (count, dim), which all threads multiply with. Returns the address of the result. */
function normalized(x: usize, weight: usize, count: i32): usize {
  const bytes = rowBytes(model.dim);
  const own = model.xn + model.thread * bytes;
  if (count === 1) {
    rmsnorm(own, x, weight, model.dim);
  } else {
    const last = lastOf(count);
    for (let e = firstOf(count); e < last; e++) rmsnorm(model.xn + e * bytes, x + e * bytes, weight, model.dim);
  }
  shareRows(count);
  return count === 1 ? own : model.xn;
}

/**
 * run.c 231: forward, for `count` entries. Every thread runs it. The logits of the last `classified` entries go
 * to `logits` (classified, vocabSize).
 */
export function forward(keyCache: usize, valueCache: usize, logits: usize, count: i32, classified: i32): void {
  // a few convenience variables
  const dim = model.dim;
  const hiddenDim = model.hiddenDim;
  const kvDim = kvDimOf();
  const x = model.x;
  const last = lastOf(count);

  // copy the token embedding into x, and compute RoPE's angles
  for (let e = firstOf(count); e < last; e++) {
    copyRow(
      x + e * rowBytes(dim),
      model.tokenEmbeddingTable,
      tokenOf(e),
      dim,
      model.vocabSize,
      model.tokenEmbeddingTableGroup,
    );
    ropeAngles(e, posOf(e));
  }
  barrier(); // x, and the angles

  // forward all the layers
  for (let l = 0; l < model.nLayers; l++) {
    // attention rmsnorm
    let xn = normalized(x, model.rmsAttWeight + l * rowBytes(dim), count);

    // qkv matmuls for these positions
    matmul(model.q, xn, model.wq, l, dim, dim, count, model.wqGroup);
    matmul(model.k, xn, model.wk, l, dim, kvDim, count, model.wkGroup);
    matmul(model.v, xn, model.wv, l, dim, kvDim, count, model.wvGroup);

    // RoPE relative positional encoding, and key and value into the kv cache
    rope(model.q, dim, count);
    rope(model.k, kvDim, count);
    remember(keyCache, valueCache, l, count);
    if (!headsAreOwn(count)) barrier(); // q, and the cache

    attention(keyCache, valueCache, l, count);
    share(); // xb

    // final matmul to mix what the heads have found, and residual connection back into x
    matmul(model.xb2, model.xb, model.wo, l, dim, dim, count, model.woGroup);
    addResidual(x, model.xb2, dim, count);
    barrier(); // x

    // ffn rmsnorm
    xn = normalized(x, model.rmsFfnWeight + l * rowBytes(dim), count);

    // the feed-forward network: w2(silu(w1(x)) * w3(x))
    matmul(model.hb, xn, model.w1, l, dim, hiddenDim, count, model.w1Group);
    matmul(model.hb2, xn, model.w3, l, dim, hiddenDim, count, model.w3Group);
    swiglu(model.hb, model.hb2, hiddenDim, count);
    share(); // hb

    // final matmul to get the output of the ffn, and residual connection
    matmul(model.xb2, model.hb, model.w2, l, hiddenDim, dim, count, model.w2Group);
    addResidual(x, model.xb2, dim, count);
    barrier(); // x
  }

  // final rmsnorm and classifier into logits, for those entries whose logits are wanted
  if (classified === 0) return;
  const xLast = x + (count - classified) * rowBytes(dim);
  const xn = normalized(xLast, model.rmsFinalWeight, classified);
  matmul(logits, xn, model.wcls, 0, dim, model.vocabSize, classified, model.wclsGroup);
}
