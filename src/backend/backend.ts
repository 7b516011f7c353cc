/*
 * The interface of all backends. Generation, chat, measuring and the tests are written against it, once. A backend knows
 * a model's weights and shape, but not files or flags.
 */
import type { Sampler } from "../llama2/sampler.ts";
import type { Holdings, WeightSource } from "../llama2/weights.ts";
import type { BackendName } from "./names.ts";

export interface LoadOptions {
  /** 0: the backend's choice. */
  threads: number;
  /** Bytes of this machine's memory that are available; absent: unknown, as in a page. */
  memory?: number;
  /** The model's name, for messages. */
  name?: string;
  /** Options that only the cuda backend understands. */
  own?: object;
}

/** How much memory a model takes on a backend, in bytes. */
export interface Memory {
  /** Of the weights, as this backend lays them out. */
  weights: number;
  /** Of each live sequence: its KV cache. */
  perSequence: number;
  /** Of everything that is needed once: activations, scores, logits. */
  scratch: number;
  /** Available, where this backend keeps a model; Infinity: unknown. */
  available: number;
}

/** One way to compute. */
export interface Backend {
  readonly name: BackendName;
  /** The instruction set it computes with: avx512, avx2, sse2, neon, base, simd128 (of WebAssembly), cuda, none. */
  readonly isa: string;
  /** Its logits are run.c's, bit for bit. */
  readonly exact: boolean;
  /**
   * How much memory `load` with the same arguments, and one context, would take. It follows from the model's shape and
   * formats; no weights are read.
   * @throws Llama2Error E_DEVICE_UNAVAILABLE if this backend cannot have such a model at all
   */
  estimate(source: Holdings, contextLength: number, options: LoadOptions): Memory;
  /**
   * Load the weights, once, for sequences of at most `contextLength` positions.
   * @throws Llama2Error E_LIMIT or E_DEVICE_OOM, before weights are read, if the estimate says that the model and one
   *   sequence do not fit
   */
  load(source: WeightSource, contextLength: number, options: LoadOptions): Promise<LoadedModel>;
}

/** Weights, ready to run. */
export interface LoadedModel {
  /** How many threads it uses. */
  readonly threads: number;
  /** The most entries that one call of `forward` takes. */
  readonly maxBatch: number;
  /** A context allocates the memory of all its sequences when it is opened, not as they are filled. */
  readonly reserves?: boolean;
  /** Open a context for this many sequences, each with a KV cache of `contextLength` positions. */
  openContext(sequences: number): Context;
  dispose(): void;
}

/** A token to read: its id, its position, and its sequence in the context. */
export interface Entry {
  token: number;
  pos: number;
  sequence: number;
}

/** A sequence for `decode`: the token it reads next, how tokens are chosen, and the token that ends it. */
export interface Running extends Entry {
  sampler: Sampler;
  stop: number;
}

/** What the KV cache keeps of a position: its keys, rotated, and its values. */
export interface KeysAndValues {
  keys: Float32Array; // (nLayers, kvDim)
  values: Float32Array; // (nLayers, kvDim)
}

/** Some steps of sequences that decode by themselves. */
export interface Steps {
  /**
   * (steps, sequences) a token for each, in memory that the next steps overwrite: -1 for a sequence that has ended or whose
   * logits are not finite.
   */
  tokens: Int32Array;
  /** How many milliseconds of them choosing took, as far as the backend knows. */
  sampleMs: number;
}

/** A number of sequences: their KV caches and the buffers beside them. Sequences do not affect each other. */
export interface Context {
  /**
   * Read the entries, at most the model's `maxBatch`: consecutive positions of one sequence (a prompt), one position of
   * each of several sequences, or any mixture. All earlier positions of an entry's sequence must have been read by earlier
   * calls, or come before it in `batch`. The bits do not depend on how entries are batched.
   *
   * A position may be read again: it and the later ones of its sequence are replaced.
   *
   * Returns the logits of the last `wanted` entries, (wanted, vocabSize). They are in memory that the next call, and
   * `sample`, overwrite. The classifier, a model's largest matrix, is computed only for these.
   */
  forward(batch: readonly Entry[], wanted: number): Float32Array;
  /**
   * Choose a token from each row of the last logits, as `sample` of sampler.ts does, which overwrites them. The first
   * sampler gets row `first`, and so on. A row that is not all finite stays as it is, and its token is -1.
   * @param first @default 0
   */
  sample(samplers: readonly Sampler[], first?: number): number[];
  /**
   * Optional: let distinct sequences decode by themselves for up to `most` tokens, with the results that calls of
   * `forward` and `sample` would give. Leaving early waits for the steps under way. The context must not be used
   * otherwise meanwhile.
   */
  decode?(running: readonly Running[], most: number): Generator<Steps, void, void>;
  /**
   * Optional: copy the first `positions` positions of the KV cache of sequence `from` to sequence `to`, which can then
   * continue from there, with the same bits as if it had read them itself.
   */
  copy?(from: number, to: number, positions: number): void;
  /** Optional: copies of the keys and values of a position that has been read. */
  trace?(entry: Pick<Entry, "pos" | "sequence">): KeysAndValues;
  dispose(): void;
}
