/*
 * Proves that a converted model computes what the original does.
 */
import { setImmediate } from "node:timers/promises";
import { counted } from "../checkpoint/counted.ts";
import { type Recognised, recognise } from "../checkpoint/open.ts";
import { Llama2Error } from "../errors.ts";
import { filesAt } from "../files/disk.ts";
import type { Config } from "../llama2/transformer.ts";
import { groupSizeOf, isVector, type TensorName, tensorsOf, type WeightSource } from "../llama2/weights.ts";
import { naiveLogits, type RowSource } from "./naive.ts";
import { originalsOf } from "./originals.ts";
import { rounded } from "./rounded.ts";
import { streamedLogits } from "./streamed.ts";

/** How far apart two models are. An error is a position's largest difference relative to its largest logit. */
export interface Proof {
  /** The tokens that both models read. */
  tokens: number[];
  /** Of the written model, against a float64 pass over the original tensors, rounded to int8 if the model is int8. */
  error: number;
  /** The error that rounding the weights to int8 causes by itself; absent if nothing was rounded. */
  rounding?: number;
}

/** The largest error that float32 rounding alone may cause. */
const MAX_ERROR = 1e-4;

export interface ProveOptions {
  /** Called as weights are read: how many have been read, and of how many. */
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

/**
 * Compute the logits of BOS and 7 tokens twice: from the original tensors in float64, by code that shares nothing with
 * the conversion, and from the model at `out` in float32. At most one matrix is in memory at a time.
 * @param weights the original, as it was converted
 * @param config with the changes of the conversion
 * @throws Llama2Error E_NUMERIC where they differ; the signal's reason
 */
export async function prove(
  original: Recognised,
  weights: WeightSource,
  config: Config,
  out: string,
  { onProgress, signal }: ProveOptions = {},
): Promise<Proof> {
  const written = await recognise(filesAt(out));
  try {
    const model = written.weights();
    const tokens = tokensFor(config);
    const classifierOf = (source: WeightSource) => (source.sharedClassifier ? "tokenEmbeddingTable" : "wcls");
    const rounds = isRounded(weights, model);
    const passes = 2 + (rounds ? 1 : 0) + (written.format === "hf" ? 1 : 0);
    const total = passes * tensorsOf(weights).reduce((sum, { layers, d, n }) => sum + layers * d * n, 0);
    let done = 0;
    const count = async (numbers: number) => {
      done += numbers;
      onProgress?.(Math.min(done, total), total);
      await setImmediate();
      signal?.throwIfAborted();
    };

    const source = countedRows(originalsOf(original), count);
    const exact = await naiveLogits(source, config, classifierOf(weights), tokens);
    const groupSize = groupSizeOf(model.formatOf("wq"));
    const expected = rounds
      ? await naiveLogits(rounded(source, config, groupSize, rounds), config, classifierOf(weights), tokens)
      : exact;
    let error = errorOf(await streamedLogits(counted(model, count), tokens), expected);
    if (written.format === "hf") {
      // and as other programs read the folder: RoPE rotates pairs that are half a head apart
      const folder = countedRows(originalsOf(written), count);
      const again = await naiveLogits(folder, model.config, classifierOf(model), tokens);
      error = largest(error, errorOf(again, expected));
    }
    if (!(error <= MAX_ERROR)) {
      throw new Llama2Error(
        "E_NUMERIC",
        `${out} was written, and does not compute what the original does: the logits differ by ${error.toExponential(1)} of the largest, expected at most ${MAX_ERROR}`,
      );
    }
    return { tokens, error, rounding: rounds ? errorOf(expected, exact) : undefined };
  } finally {
    written.close();
  }
}

/** BOS and 7 tokens spread over the vocabulary, or as many as fit into the context. */
function tokensFor({ vocabSize, seqLen }: Config): number[] {
  const tokens = Array.from({ length: 8 }, (_, i) => (i === 0 ? 1 : Math.floor(((i - 0.5) * vocabSize) / 7)));
  return tokens.slice(0, seqLen).map((token) => Math.min(token, vocabSize - 1));
}

/** Which matrices the conversion rounds to int8; undefined if none. */
function isRounded(from: WeightSource, to: WeightSource): ((name: TensorName) => boolean) | undefined {
  const isOne = (name: TensorName) =>
    !isVector(name) && from.formatOf(name) === "float32" && to.formatOf(name) !== "float32";
  return tensorsOf(to).some(({ name }) => isOne(name)) ? isOne : undefined;
}

const countedRows = (source: RowSource, count: (numbers: number) => Promise<void>): RowSource => ({
  halfSplit: source.halfSplit,
  async *rows(name, layer, d, n) {
    for await (const piece of source.rows(name, layer, d, n)) {
      yield piece;
      await count(piece.rows.length);
    }
  },
});

/** The largest difference of a position relative to its largest logit, over all positions; NaN if there is one. */
function errorOf(found: readonly ArrayLike<number>[], expected: readonly Float64Array[]): number {
  return expected.reduce((worst, logits, position) => {
    let difference = 0;
    let size = 0;
    logits.forEach((logit, i) => {
      difference = largest(difference, Math.abs(found[position][i] - logit));
      size = largest(size, Math.abs(logit));
    });
    return largest(worst, difference === 0 ? 0 : difference / size);
  }, 0);
}

/** Math.max, with NaN as the largest of all. */
const largest = (a: number, b: number): number => (a > b || Number.isNaN(a) ? a : b);
