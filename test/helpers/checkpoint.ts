/*
 * Checkpoints with seeded random weights, made by the tests: the same arguments give the same bytes everywhere. The
 * goldens in test/golden/ are what llama2.c's run.c computes from exactly these.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "./temp.ts";

/** dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen */
export type Shape = readonly [number, number, number, number, number, number, number];

export const SHAPES: Record<string, Shape> = {
  "260K": [64, 172, 5, 8, 4, 512, 512],
  "15M": [288, 768, 6, 6, 6, 32000, 256],
  tiny: [16, 40, 2, 4, 4, 300, 32],
  gqa: [48, 128, 3, 6, 2, 512, 64],
  mqa: [32, 88, 2, 4, 1, 512, 64],
};

export interface CheckpointOptions {
  seed?: number;
  /** A classifier of its own. */
  untied?: boolean;
}

/** A version-0 checkpoint. */
export function makeCheckpoint(shape: Shape, { seed = 1, untied = false }: CheckpointOptions = {}): Uint8Array {
  const [dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen] = shape;
  const headSize = dim / nHeads;
  const kvDim = headSize * nKvHeads;
  const random = normalish(seed);
  const parts: Float32Array[] = [];
  const tensor = (count: number, scale: number, mean = 0) => {
    const values = new Float32Array(count);
    if (scale > 0) for (let i = 0; i < count; i++) values[i] = mean + random() * scale;
    parts.push(values);
  };
  // Scaled by powers of two, so that every weight is exact: about 1 / sqrt(fan-in)
  const matrix = (fanIn: number) => 2 ** (-16 - Math.ceil(Math.log2(Math.sqrt(fanIn))));
  const gain = [2 ** -20, 1] as const;

  tensor(vocabSize * dim, matrix(64)); // token embedding
  tensor(nLayers * dim, ...gain); // attention norms
  tensor(nLayers * dim * dim, matrix(dim)); // wq
  tensor(nLayers * dim * kvDim, matrix(dim)); // wk
  tensor(nLayers * dim * kvDim, matrix(dim)); // wv
  tensor(nLayers * dim * dim, matrix(dim)); // wo
  tensor(nLayers * dim, ...gain); // ffn norms
  tensor(nLayers * dim * hiddenDim, matrix(dim)); // w1
  tensor(nLayers * hiddenDim * dim, matrix(hiddenDim)); // w2
  tensor(nLayers * dim * hiddenDim, matrix(dim)); // w3
  tensor(dim, ...gain); // final norm
  tensor(seqLen * headSize, 0); // RoPE tables, which readers skip
  if (untied) tensor(vocabSize * dim, matrix(dim)); // classifier

  const header = [dim, hiddenDim, nLayers, nHeads, nKvHeads, untied ? -vocabSize : vocabSize, seqLen];
  const chunks = [Int32Array.from(header), ...parts].map((part) => new Uint8Array(part.buffer));
  return new Uint8Array(Buffer.concat(chunks));
}

/** The same, as a file that is gone after the tests. */
export function checkpointFile(shape: Shape, options: CheckpointOptions = {}): string {
  const path = join(tempDir(), "model.bin");
  writeFileSync(path, makeCheckpoint(shape, options));
  return path;
}

/** Near-normal numbers of standard deviation 2^16 / sqrt(3): a sum of four uniform ones, from splitmix32. */
function normalish(seed: number): () => number {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad) >>> 0;
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97) >>> 0;
    return (z ^ (z >>> 15)) >>> 0;
  };
  return () => {
    const a = next();
    const b = next();
    return (a & 0xffff) + (a >>> 16) + (b & 0xffff) + (b >>> 16) - 131070;
  };
}
