/*
 * The layout of the kernels' memory: the address of every array, computed before the memory is allocated.
 */
import { EXP2_32NDS } from "../../llama2/math.ts";
import { type Config, headSizeOf, kvDimOf } from "../../llama2/transformer.ts";
import { groupSizesOf, type Holdings, isVector, type TensorName, tensorsOf } from "../../llama2/weights.ts";
import type { Memory } from "../backend.ts";
import type { Globals } from "./kernels.ts";
import { matrixBytes, PANEL, rowBytes, weightBytes } from "./panels.ts";

/** The most entries of one forward pass. More would hardly be faster: the weights are read once for all of them. */
export const MAX_BATCH = 64;

/** A tensor of one layer, of d rows and n columns, and its address. */
export interface Tensor {
  name: TensorName;
  layer: number;
  d: number;
  n: number;
  address: number;
}

export interface Plan {
  globals: Globals;
  tensors: Tensor[];
  /** Bytes of the whole model. Contexts come after it. */
  bytes: number;
  /** Bytes of its weights. */
  weights: number;
}

export function planModel(source: Holdings, contextLength: number, threads: number): Plan {
  const p = { ...source.config, seqLen: contextLength };
  const groupSizes = groupSizesOf(source);
  const headSize = headSizeOf(p);
  const kvDim = kvDimOf(p);
  let bytes = 0;
  const allocate = (size: number) => {
    const address = bytes;
    bytes += rowBytes(size / 4);
    return address;
  };
  const finest = Math.min(...Object.values(groupSizes).filter((groupSize) => groupSize > 0)); // Infinity: none
  const widest = Math.max(p.dim, p.hiddenDim);
  const rounded = { xqStride: rowBytes(Math.ceil(widest / 2)), xsStride: rowBytes(Math.ceil(widest / finest)) };
  const ownRows = Math.max(MAX_BATCH, threads); // with a single entry, each thread computes these in a row of its own

  const shared = {
    exp2: allocate(8 * EXP2_32NDS.length),
    meeting: allocate(128 * threads),
    job: allocate(64),
    ready: allocate(4),
  };
  const state = {
    x: allocate(MAX_BATCH * rowBytes(p.dim)),
    xn: allocate(ownRows * rowBytes(p.dim)),
    xb: allocate(MAX_BATCH * rowBytes(p.dim)),
    xb2: allocate(MAX_BATCH * rowBytes(p.dim)),
    hb: allocate(MAX_BATCH * rowBytes(p.hiddenDim)),
    hb2: allocate(MAX_BATCH * rowBytes(p.hiddenDim)),
    q: allocate(MAX_BATCH * rowBytes(p.dim)),
    k: allocate(MAX_BATCH * rowBytes(kvDim)),
    v: allocate(MAX_BATCH * rowBytes(kvDim)),
    att: allocate(threads * rowBytes(p.seqLen)),
    headXb: allocate(threads * rowBytes(headSize)),
    xq: allocate(ownRows * rounded.xqStride),
    xs: allocate(ownRows * rounded.xsStride),
    ivals: allocate(threads * 4 * PANEL),
    batch: allocate(MAX_BATCH * 12),
    probindex: allocate(8 * p.vocabSize),
    frequencies: allocate(2 * headSize),
    fcr: allocate(MAX_BATCH * 2 * headSize),
    fci: allocate(MAX_BATCH * 2 * headSize),
  };

  const activations = bytes;
  const weights: Record<string, number> = {};
  const tensors: Tensor[] = [];
  for (const { name, layers, d, n } of tensorsOf(source)) {
    const size = isVector(name) ? rowBytes(n) : weightBytes(d, n, groupSizes[name]);
    weights[name] = allocate(layers * size);
    for (let layer = 0; layer < layers; layer++) {
      tensors.push({ name, layer, d, n, address: weights[name] + layer * size });
    }
  }
  weights.wcls ??= weights.tokenEmbeddingTable;

  const { dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen, normEps } = p;
  const shape = { dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen, normEps };
  const groups = Object.fromEntries(Object.entries(groupSizes).map(([name, size]) => [`${name}Group`, size]));
  return {
    globals: { ...shape, ...groups, ...shared, ...state, ...rounded, ...weights },
    tensors,
    bytes,
    weights: bytes - activations,
  };
}

/** The arrays of a context for `sequences` sequences: how many bytes each takes. */
export function planContext(p: Config, sequences: number) {
  const heads = sequences * p.nLayers * p.nKvHeads;
  return {
    keyCache: heads * matrixBytes(p.seqLen, headSizeOf(p)), // (sequence, layer, head, seqLen, headSize)
    valueCache: heads * matrixBytes(headSizeOf(p), p.seqLen), // (sequence, layer, head, headSize, seqLen)
    logits: MAX_BATCH * rowBytes(p.vocabSize), // (entry, vocabSize)
  };
}

/** The memory that a model and a context take. */
export function memoryOf(source: Holdings, contextLength: number, threads: number): Omit<Memory, "available"> {
  const { bytes, weights } = planModel(source, contextLength, threads);
  const { keyCache, valueCache, logits } = planContext({ ...source.config, seqLen: contextLength }, 1);
  return { weights, perSequence: keyCache + valueCache, scratch: bytes - weights + logits };
}
