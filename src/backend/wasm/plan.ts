/*
 * Where everything of a model lies in the kernels' memory, worked out before there is any.
 */
import { type Config, headSizeOf, kvDimOf, type TensorName, type WeightSource } from "../../llama2/transformer.js";
import { FIXED_BYTES, type Globals, MAX_BYTES, PANEL } from "./kernels.js";

/** The most entries in one forward pass. More would hardly be faster: the weights are read once for all of them. */
export const MAX_BATCH = 64;

/** One kind of tensor: `layers` of d rows and n columns, one after the other from `address` on. */
export interface Tensor {
  layers: number;
  d: number;
  n: number;
  address: number;
}

export interface Plan {
  globals: Globals;
  matrices: Map<TensorName, Tensor>;
  vectors: Map<TensorName, Tensor>;
  /** All of the model. What lies behind it is for contexts. */
  bytes: number;
}

/** The bytes of n float32 numbers with room for the next multiple of 16, as matmul.ts's rowBytes. */
export const rowBytes = (n: number) => 4 * PANEL * Math.ceil(n / PANEL);
/** The bytes of a matrix in panels, as matmul.ts's matrixBytes. */
export const matrixBytes = (d: number, n: number) => rowBytes(d) * n;

export function planModel(source: WeightSource, threads: number): Plan {
  const p = source.config;
  const headSize = headSizeOf(p);
  const kvDim = kvDimOf(p);
  let bytes = FIXED_BYTES;
  const allocate = (size: number) => {
    const address = bytes;
    bytes += size;
    return address;
  };
  const tensor = (layers: number, d: number, n: number, size: number): Tensor => {
    return { layers, d, n, address: allocate(layers * size) };
  };
  const matrix = (layers: number, d: number, n: number) => tensor(layers, d, n, matrixBytes(d, n));
  const vector = (layers: number) => tensor(layers, 1, p.dim, rowBytes(p.dim));

  const state = {
    x: allocate(MAX_BATCH * rowBytes(p.dim)),
    xb: allocate(MAX_BATCH * rowBytes(p.dim)),
    xb2: allocate(MAX_BATCH * rowBytes(p.dim)),
    hb: allocate(MAX_BATCH * rowBytes(p.hiddenDim)),
    hb2: allocate(MAX_BATCH * rowBytes(p.hiddenDim)),
    q: allocate(MAX_BATCH * rowBytes(p.dim)),
    k: allocate(MAX_BATCH * rowBytes(kvDim)),
    v: allocate(MAX_BATCH * rowBytes(kvDim)),
    att: allocate(threads * rowBytes(p.seqLen)),
    headXb: allocate(threads * rowBytes(headSize)),
    batch: allocate(MAX_BATCH * 12),
    probindex: allocate(8 * p.vocabSize),
    fcr: allocate(2 * p.seqLen * headSize),
    fci: allocate(2 * p.seqLen * headSize),
  };
  bytes = rowBytes(bytes / 4);

  const matrices = new Map<TensorName, Tensor>([
    ["tokenEmbeddingTable", matrix(1, p.vocabSize, p.dim)],
    ["wq", matrix(p.nLayers, p.dim, p.dim)],
    ["wk", matrix(p.nLayers, kvDim, p.dim)],
    ["wv", matrix(p.nLayers, kvDim, p.dim)],
    ["wo", matrix(p.nLayers, p.dim, p.dim)],
    ["w1", matrix(p.nLayers, p.hiddenDim, p.dim)],
    ["w2", matrix(p.nLayers, p.dim, p.hiddenDim)],
    ["w3", matrix(p.nLayers, p.hiddenDim, p.dim)],
  ]);
  if (!source.sharedClassifier) matrices.set("wcls", matrix(1, p.vocabSize, p.dim));
  const vectors = new Map<TensorName, Tensor>([
    ["rmsAttWeight", vector(p.nLayers)],
    ["rmsFfnWeight", vector(p.nLayers)],
    ["rmsFinalWeight", vector(1)],
  ]);

  const { dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen, normEps } = p;
  const shape = { dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen, normEps };
  const weights = Object.fromEntries([...matrices, ...vectors].map(([name, { address }]) => [name, address]));
  weights.wcls ??= weights.tokenEmbeddingTable;
  return { globals: { ...shape, ...state, ...weights, threads }, matrices, vectors, bytes };
}

/** The arrays of a context with room for `sequences`: how many bytes each takes. */
export function planContext(p: Config, sequences: number) {
  const heads = sequences * p.nLayers * p.nKvHeads;
  return {
    keyCache: heads * matrixBytes(p.seqLen, headSizeOf(p)), // (sequence, layer, head, seqLen, headSize)
    valueCache: heads * matrixBytes(headSizeOf(p), p.seqLen), // (sequence, layer, head, headSize, seqLen)
    logits: MAX_BATCH * rowBytes(p.vocabSize), // (entry, vocabSize)
  };
}

/** What a model takes, with a context for one sequence. */
export function bytesNeeded(source: WeightSource, threads: number): number {
  const { keyCache, valueCache, logits } = planContext(source.config, 1);
  return planModel(source, threads).bytes + keyCache + valueCache + logits;
}

/** Whether WebAssembly can address a model. */
export function fits(source: WeightSource, threads = 1): boolean {
  return bytesNeeded(source, threads) <= MAX_BYTES;
}
