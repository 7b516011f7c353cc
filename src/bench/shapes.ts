/*
 * Shapes of models with random weights: known ones by name, and any others by their numbers.
 */
import { usage } from "../check.ts";
import type { Config } from "../llama2/transformer.ts";

/** dim, hiddenDim, layers, heads, kvHeads, vocabSize, context; and whether the classifier is the embedding table */
type Numbers = readonly [number, number, number, number, number, number, number];

const SHAPES: Record<string, { numbers: Numbers; shared: boolean }> = {
  "260K": { numbers: [64, 172, 5, 8, 4, 512, 512], shared: true },
  "15M": { numbers: [288, 768, 6, 6, 6, 32000, 256], shared: true },
  "42M": { numbers: [512, 1376, 8, 8, 8, 32000, 1024], shared: true },
  "110M": { numbers: [768, 2048, 12, 12, 12, 32000, 1024], shared: true },
  "1B": { numbers: [2048, 5632, 22, 32, 4, 32000, 2048], shared: false },
  "3B": { numbers: [3200, 8640, 26, 32, 32, 32000, 2048], shared: false },
  "7B": { numbers: [4096, 11008, 32, 32, 32, 32000, 4096], shared: false },
};
export const SHAPE_NAMES = Object.keys(SHAPES);

export interface ModelShape {
  name: string;
  config: Config;
  sharedClassifier: boolean;
}

/**
 * @param text a name such as "7B", or dim,hiddenDim,layers,heads,kvHeads,vocabSize,context
 * @throws Llama2Error E_USAGE
 */
export function shapeOf(text: string): ModelShape {
  const known = SHAPES[text.toUpperCase()];
  const numbers = known?.numbers ?? text.split(",").map(Number);
  const expected = `expected ${SHAPE_NAMES.join(", ")}, or dim,hiddenDim,layers,heads,kvHeads,vocabSize,context`;
  if (numbers.length !== 7 || !numbers.every((n) => Number.isInteger(n) && n >= 1 && n < 2 ** 31)) {
    usage(`the shape "${text}" is not known: ${expected}`);
  }
  const [dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen] = numbers;
  if (dim % nHeads !== 0 || nHeads % nKvHeads !== 0 || (dim / nHeads) % 2 !== 0) {
    usage(`the shape "${text}" is none: heads divide dim into even sizes, and kvHeads divide heads`);
  }
  const config = { dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen, normEps: 1e-5, ropeTheta: 10000 };
  return { name: known ? text.toUpperCase() : text, config, sharedClassifier: known?.shared ?? true };
}
