/*
 * The one interface that whatever runs a forward pass has. Generation, chat, measuring and the tests are written
 * once against it. A backend knows a model's weights and shape, not files or flags.
 */
import type { Sampler } from "../llama2/sampler.ts";
import type { Holdings, WeightSource } from "../llama2/weights.ts";
import type { BackendName } from "./names.ts";

export interface LoadOptions {
  /** 0: the backend's choice. */
  threads: number;
  /** Bytes of this machine's memory that are available; absent: unknown, as in a page. */
  memory?: number;
  /** Of the model, for messages. */
  name?: string;
  /** What this backend alone understands. */
  own?: object;
}

/** How much memory a model takes on a backend, in bytes. */
export interface Memory {
  /** Of the weights, as this backend lays them out. */
  weights: number;
  /** Of each sequence that is live at the same time: its KV cache. */
  perSequence: number;
  /** Of all that is there once: activations, scores, logits. */
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
   * How much memory `load` with the same arguments, and one context, would take: from the model's shape and formats
   * alone, nothing of it is read.
   * @throws Llama2Error E_DEVICE_UNAVAILABLE if this backend cannot have such a model at all
   */
  estimate(source: Holdings, contextLength: number, options: LoadOptions): Memory;
  /**
   * Load the weights, once, for sequences of at most `contextLength` positions.
   * @throws Llama2Error E_LIMIT or E_DEVICE_OOM, before anything is read, if by the estimate there is no room for it and
   *   one sequence
   */
  load(source: WeightSource, contextLength: number, options: LoadOptions): Promise<LoadedModel>;
}

/** Weights, ready to run. */
export interface LoadedModel {
  /** How many threads it really uses. */
  readonly threads: number;
  /** The most entries that one call of `forward` takes. */
  readonly maxBatch: number;
  /** A context takes the memory of all its sequences when it is opened, and not little by little as they are filled. */
  readonly reserves?: boolean;
  /** Room for so many sequences, each with a KV cache of `contextLength` positions. */
  openContext(sequences: number): Context;
  dispose(): void;
}

/** A token to read: which, where it stands, and in which sequence of the context. */
export interface Entry {
  token: number;
  pos: number;
  sequence: number;
}

/** A sequence that goes on by itself: the token it reads next, how it chooses what follows, and the token that ends it. */
export interface Running extends Entry {
  sampler: Sampler;
  stop: number;
}

/** What is kept of a position that was read: its keys, rotated, and its values. */
export interface KeysAndValues {
  keys: Float32Array; // (nLayers, kvDim)
  values: Float32Array; // (nLayers, kvDim)
}

/** Sequences being read: their KV caches and the state beside them. They do not affect each other. */
export interface Context {
  /**
   * Read the entries: consecutive positions of one sequence (a prompt), one position of each of several (many
   * stories at once), or any mixture, as long as what stands before an entry in its sequence has been read by
   * earlier calls, or stands before it in `batch`. At most the model's `maxBatch`. The bits do not depend on how entries are
   * batched.
   *
   * A position may be read again: it and what follows it in its sequence are replaced.
   *
   * Returns the logits of the last `wanted` entries, (wanted, vocabSize): nothing if none are wanted. They are in memory
   * that the next call overwrites, as `sample` does. The classifier, a model's largest matrix, is computed for these
   * only.
   */
  forward(batch: readonly Entry[], wanted: number): Float32Array;
  /**
   * Choose a token from each row of the last logits, beginning with the row `first`, by the first sampler, as `sample`
   * of sampler.ts does, which uses them up. A row that is not all finite stays as it is, and has no token: -1.
   * @param first @default 0
   */
  sample(samplers: readonly Sampler[], first?: number): number[];
  /**
   * Where a backend can: let sequences, all distinct, go on by themselves for some tokens, at most `most`,
   * as calls of `forward` and `sample` would. Yields what was chosen at each step, a token for each of `running`, in
   * memory that the next step overwrites; -1 for one that had ended, or whose logits are not finite, after which
   * nothing is chosen. Leaving early waits for what is under way. Nothing else may be asked of the context meanwhile.
   */
  decode?(running: readonly Running[], most: number): Generator<Int32Array, void, void>;
  /**
   * Where a backend can: copy the first `positions` positions of the KV cache of sequence `from` to sequence `to`, which
   * can then be read on from there, with the same bits as if it had read them itself.
   */
  copy?(from: number, to: number, positions: number): void;
  /** Where a backend can: copies of the keys and values of a position that has been read. */
  trace?(entry: Pick<Entry, "pos" | "sequence">): KeysAndValues;
  dispose(): void;
}
