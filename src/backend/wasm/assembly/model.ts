/*
 * The model that this instance of the kernels computes, under run.c's names. An instance serves one model, so
 * these are plain globals; TypeScript sets them by name, once, before anything runs (kernels.ts).
 *
 * Pointers are addresses in the memory that all threads share. A "row of n numbers" is padded to a multiple of 16,
 * because matmul writes sixteen results at a time.
 */

// ----------------------------------------------------------------------------
// Config

export let dim: i32 = 0;
export let hiddenDim: i32 = 0;
export let nLayers: i32 = 0;
export let nHeads: i32 = 0;
export let nKvHeads: i32 = 0;
export let vocabSize: i32 = 0;
export let seqLen: i32 = 0;
export let normEps: f32 = 0;

// ----------------------------------------------------------------------------
// how many numbers of each matrix share a scale; 0: it is float32

export let tokenEmbeddingTableGroup: i32 = 0;
export let wqGroup: i32 = 0;
export let wkGroup: i32 = 0;
export let wvGroup: i32 = 0;
export let woGroup: i32 = 0;
export let w1Group: i32 = 0;
export let w2Group: i32 = 0;
export let w3Group: i32 = 0;
export let wclsGroup: i32 = 0;

// ----------------------------------------------------------------------------
// TransformerWeights: the first layer's; those of the next layers follow. Matrices are in panels (matmul.ts).

export let tokenEmbeddingTable: usize = 0; // (vocabSize, dim)
export let rmsAttWeight: usize = 0; // (layer, dim)
export let wq: usize = 0; // (layer, dim, dim)
export let wk: usize = 0; // (layer, kvDim, dim)
export let wv: usize = 0; // (layer, kvDim, dim)
export let wo: usize = 0; // (layer, dim, dim)
export let rmsFfnWeight: usize = 0; // (layer, dim)
export let w1: usize = 0; // (layer, hiddenDim, dim)
export let w2: usize = 0; // (layer, dim, hiddenDim)
export let w3: usize = 0; // (layer, hiddenDim, dim)
export let rmsFinalWeight: usize = 0; // (dim)
export let wcls: usize = 0; // (vocabSize, dim)

// ----------------------------------------------------------------------------
// RunState: a row for each entry of a batch

export let x: usize = 0; // (entry, dim)
export let xn: usize = 0; // (entry, dim): x after rmsnorm; with a single entry (thread, dim)
export let xb: usize = 0; // (entry, dim)
export let xb2: usize = 0; // (entry, dim)
export let hb: usize = 0; // (entry, hiddenDim)
export let hb2: usize = 0; // (entry, hiddenDim)
export let q: usize = 0; // (entry, dim)
export let k: usize = 0; // (entry, kvDim)
export let v: usize = 0; // (entry, kvDim)

export let att: usize = 0; // (thread, seqLen): the scores of a thread's current head
export let headXb: usize = 0; // (thread, headSize): the output of that head

export let xq: usize = 0; // (entry, dim or hiddenDim): the x of the next matmul with an int8 matrix (quantize.ts)
export let xs: usize = 0; // (entry, groups): and its scales; with a single entry, both have a row for each thread
export let xqStride: usize = 0; // bytes from one row of xq to the next, for x of any length
export let xsStride: usize = 0; // the same for xs
export let ivals: usize = 0; // (thread, 16): a thread's current integer sums

export let frequencies: usize = 0; // (headSize / 2): ropeFrequencies
export let fcr: usize = 0; // (entry, headSize / 2): the cosines of ropeAngles
export let fci: usize = 0; // (entry, headSize / 2): and the sines

export let batch: usize = 0; // (entry, 3): i32 token, pos, sequence
export let probindex: usize = 0; // (vocabSize): the sampler's candidates, 8 bytes each

// ----------------------------------------------------------------------------
// what the threads share beside the model

export let exp2: usize = 0; // (32): expf's table (math.ts)
export let meeting: usize = 0; // (thread, 128 bytes): the barrier's counters (team.ts)
export let job: usize = 0; // (64 bytes): the current job (index.ts)
export let ready: usize = 0; // an i32: how many of the other threads have started; negative if one could not

// ----------------------------------------------------------------------------
// this thread, and how many work on the pass

export let thread: i32 = 0;
export let threads: i32 = 1;
export let panelsAtOnce: i32 = 1; // that a matmul for a single entry reads
export let patience: i32 = 0; // how often a waiting thread checks before it sleeps

export function setPass(threadCount: i32, panels: i32): void {
  threads = threadCount;
  panelsAtOnce = panels;
}

export function headSizeOf(): i32 {
  return dim / nHeads;
}

export function kvDimOf(): i32 {
  return headSizeOf() * nKvHeads;
}
