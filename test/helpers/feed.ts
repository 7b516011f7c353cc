/*
 * Feeding tokens to a backend, and to the reference.
 */
import type { Backend, Context, Entry, Running } from "../../src/backend/backend.ts";
import { forward } from "../../src/llama2/transformer.ts";
import { loadTransformer, type WeightSource } from "../../src/llama2/weights.ts";
import { sha256 } from "./golden.ts";
import { seededRandom } from "./random.ts";

/** A context, and how many entries its model takes at once. */
type Opened = Context & { maxBatch: number };

/** A context of a fresh model, for as long as `work` runs. */
export async function withContext<T>(
  backend: Backend,
  source: WeightSource,
  { threads = 0, sequences = 1 },
  work: (context: Opened) => T | Promise<T>,
): Promise<T> {
  const model = await backend.load(source, source.config.seqLen, { threads });
  const context = Object.assign(model.openContext(sequences), { maxBatch: model.maxBatch });
  try {
    return await work(context);
  } finally {
    context.dispose();
    model.dispose();
  }
}

/** Feed the entries, in batches of at most `most`; the logits of all of them. */
export function feed(context: Opened, entries: Entry[], most: number, vocabSize: number): Float32Array {
  const all = new Float32Array(entries.length * vocabSize);
  const size = Math.min(most, context.maxBatch);
  for (let i = 0; i < entries.length; i += size) {
    all.set(context.forward(entries.slice(i, i + size), Math.min(size, entries.length - i)), i * vocabSize);
  }
  return all;
}

export const entriesOf = (tokens: number[], sequence = 0): Entry[] =>
  tokens.map((token, pos) => ({ token, pos, sequence }));
export const bytesOf = (floats: Float32Array) => new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
/** Bits are compared, so that -0 is not 0. */
export const bits = (floats: Float32Array) => sha256(bytesOf(floats));

/** The reference's logits after each of `tokens`. */
export async function referenceLogits(source: WeightSource, tokens: number[]): Promise<Float32Array> {
  const transformer = await loadTransformer(source);
  const all = new Float32Array(tokens.length * source.config.vocabSize);
  for (const [pos, token] of tokens.entries()) all.set(forward(transformer, token, pos), pos * source.config.vocabSize);
  return all;
}

export function randomTokens(seed: number, count: number, vocabSize: number): number[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => Math.floor(random() * vocabSize));
}

/** The `count` tokens that follow `begin`, one `forward` and one `sample` each. */
export function oneByOne(context: Context, begin: Running, count: number): number[] {
  const tokens: number[] = [];
  let { token, pos } = begin;
  while (tokens.length < count) {
    context.forward([{ token, pos: pos++, sequence: begin.sequence }], 1);
    [token] = context.sample([begin.sampler]);
    tokens.push(token);
  }
  return tokens;
}

/** All steps of one call of `decode`, a row of tokens each. */
export function stepsOf(context: Context, running: Running[], most: number): number[][] {
  const rows: number[][] = [];
  for (const { tokens } of context.decode?.(running, most) ?? []) {
    for (let at = 0; at < tokens.length; at += running.length) rows.push([...tokens.subarray(at, at + running.length)]);
  }
  return rows;
}

/** The `count` tokens that follow each of `starts`, in as many calls of `decode` as it takes. */
export function decodeAll(context: Context, starts: Running[], count: number): number[][] {
  const tokens: number[][] = starts.map(() => []);
  while (tokens[0].length < count) {
    const running = starts.map((begin, i) => {
      return { ...begin, token: tokens[i].at(-1) ?? begin.token, pos: begin.pos + tokens[i].length };
    });
    for (const row of stepsOf(context, running, count - tokens[0].length)) {
      for (const [i, token] of row.entries()) tokens[i].push(token);
    }
  }
  return tokens;
}

/** The largest difference, as a share of the largest number of the reference; NaN if there is one. */
export function relativeError(actual: Float32Array, expected: Float32Array): number {
  let difference = 0;
  let largest = 0;
  for (const [i, value] of expected.entries()) {
    const d = Math.abs(actual[i] - value);
    if (!(d <= difference)) difference = d; // NaN counts
    largest = Math.max(largest, Math.abs(value));
  }
  return difference / largest;
}
