/*
 * A model file: how the bytes of a llama2.c checkpoint (version 0) become a transformer. A header of seven whole numbers
 * says what shape the model has; after it come the weights, tensor after tensor, as plain float32.
 *
 * This reads what run.c can read, and as run.c does: nothing is copied, and a wrong header crashes. src/checkpoint/ reads
 * more formats, in pieces, and validates all of them.
 */
import {
  type Config,
  DEFAULTS,
  headSizeOf,
  kvDimOf,
  mallocRunState,
  type Rows,
  type Transformer,
  type TransformerWeights,
} from "./transformer.ts";

/**
 * run.c 111: memory_map_weights. Point into `data`, which holds all tensors one after the other, each for all layers
 * before the next.
 */
export function memoryMapWeights(p: Config, data: Float32Array, sharedWeights: boolean): TransformerWeights {
  const { dim, hiddenDim, vocabSize } = p;
  const kvDim = kvDimOf(p);
  let ptr = 0;
  const vector = (n: number): Float32Array => {
    ptr += n;
    return data.subarray(ptr - n, ptr);
  };
  const matrix = (d: number, n: number): Rows => ({ data: vector(d * n), d, n });
  const layers = <T>(next: () => T): T[] => Array.from({ length: p.nLayers }, next);

  const tokenEmbeddingTable = matrix(vocabSize, dim);
  const rmsAttWeight = layers(() => vector(dim));
  const wq = layers(() => matrix(dim, dim));
  const wk = layers(() => matrix(kvDim, dim));
  const wv = layers(() => matrix(kvDim, dim));
  const wo = layers(() => matrix(dim, dim));
  const rmsFfnWeight = layers(() => vector(dim));
  const w1 = layers(() => matrix(hiddenDim, dim));
  const w2 = layers(() => matrix(dim, hiddenDim));
  const w3 = layers(() => matrix(hiddenDim, dim));
  const rmsFinalWeight = vector(dim);
  vector((p.seqLen * headSizeOf(p)) / 2); // skip what used to be freq_cis_real (for RoPE)
  vector((p.seqLen * headSizeOf(p)) / 2); // skip what used to be freq_cis_imag (for RoPE)
  const wcls = sharedWeights ? tokenEmbeddingTable : matrix(vocabSize, dim);
  if (ptr > data.length) throw new RangeError(`the checkpoint has ${data.length} weights, its header says ${ptr}`);
  return { tokenEmbeddingTable, rmsAttWeight, rmsFfnWeight, wq, wk, wv, wo, w1, w2, w3, rmsFinalWeight, wcls };
}

/** run.c 142: read_checkpoint. The header, then the weights. Numbers are little-endian, as on nearly all machines. */
export function readCheckpoint(bytes: Uint8Array): { config: Config; weights: TransformerWeights } {
  // a Float32Array must begin at a multiple of 4 bytes
  const { buffer, byteOffset, byteLength } = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  const [dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen] = new Int32Array(buffer, byteOffset, 7);
  // a negative vocabulary size says that the classifier has weights of its own
  const sharedWeights = vocabSize > 0;
  const shape = { dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize: Math.abs(vocabSize), seqLen };
  const config = { ...shape, ...DEFAULTS };
  const data = new Float32Array(buffer, byteOffset + 28, Math.floor((byteLength - 28) / 4));
  return { config, weights: memoryMapWeights(config, data, sharedWeights) };
}

/** run.c 164: build_transformer. */
export function buildTransformer(bytes: Uint8Array): Transformer {
  // read in the Config and the Weights from the checkpoint
  const { config, weights } = readCheckpoint(bytes);
  // allocate the RunState buffers
  return { config, weights, state: mallocRunState(config) };
}
