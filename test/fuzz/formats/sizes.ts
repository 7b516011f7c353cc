/*
 * The sizes of the models that the fuzzer damages.
 */

/** dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen */
export const TINY = [4, 6, 1, 2, 1, 5, 8] as const;

/** Most inputs are the first tensors alone: no whole model, but read as one, and in a fraction of the time. */
export const FEW = 2;
