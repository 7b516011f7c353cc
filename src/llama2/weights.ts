/*
 * How weights get from a file into a transformer: the tensors' names and shapes, and the interface that hands them over.
 * A checkpoint is large, so it comes tensor by tensor and in pieces, and each backend puts the pieces where its matmul
 * wants them. There are never two copies of a model in memory.
 */
import { packQuantized, type QuantizedRows } from "./quantize.ts";
import {
  type Config,
  kvDimOf,
  type Matrix,
  mallocRunState,
  type Transformer,
  type TransformerWeights,
} from "./transformer.ts";

// ----------------------------------------------------------------------------
// the tensors

/** The tensors that a checkpoint holds, under run.c's names. */
export type TensorName = keyof TransformerWeights;
/** The vectors among them, which are float32 in every checkpoint. */
export type VectorName = "rmsAttWeight" | "rmsFfnWeight" | "rmsFinalWeight";
export const isVector = (name: string): name is VectorName => /^rms/.test(name);
/** The matrices, which may be int8. */
export type MatrixName = Exclude<TensorName, VectorName>;

/** In how many layers a tensor occurs, and its rows and columns. A vector has one row. */
export interface Shape {
  layers: number;
  d: number;
  n: number;
}

/** The shape of every tensor of a model. */
export function shapesOf(p: Config): Record<TensorName, Shape> {
  const { dim, hiddenDim, nLayers, vocabSize } = p;
  const kvDim = kvDimOf(p);
  return {
    tokenEmbeddingTable: { layers: 1, d: vocabSize, n: dim },
    rmsAttWeight: { layers: nLayers, d: 1, n: dim },
    rmsFfnWeight: { layers: nLayers, d: 1, n: dim },
    wq: { layers: nLayers, d: dim, n: dim },
    wk: { layers: nLayers, d: kvDim, n: dim },
    wv: { layers: nLayers, d: kvDim, n: dim },
    wo: { layers: nLayers, d: dim, n: dim },
    w1: { layers: nLayers, d: hiddenDim, n: dim },
    w2: { layers: nLayers, d: dim, n: hiddenDim },
    w3: { layers: nLayers, d: hiddenDim, n: dim },
    rmsFinalWeight: { layers: 1, d: 1, n: dim },
    wcls: { layers: 1, d: vocabSize, n: dim },
  };
}

/** How the numbers of a tensor are stored: float32, or int8 in groups of `groupSize` numbers that share a scale. */
export type Format = "float32" | { readonly groupSize: number };

/** How many numbers share a scale; 0 for float32. */
export const groupSizeOf = (format: Format): number => (format === "float32" ? 0 : format.groupSize);

/** What is known of a source of weights before they are read. */
export interface Holdings {
  readonly config: Config;
  /** The classifier is the embedding table: there is no `wcls` to read. */
  readonly sharedClassifier: boolean;
  /** How a tensor is stored, the same in all layers. Vectors are float32; each matrix may have a format of its own. */
  formatOf(name: TensorName): Format;
}

/** The tensors that a source has to read: all, without the classifier if it is the embedding table. */
export function tensorsOf({ config, sharedClassifier }: Pick<Holdings, "config" | "sharedClassifier">) {
  const all = Object.entries(shapesOf(config)).map(([name, shape]) => ({ name: name as TensorName, ...shape }));
  return all.filter(({ name }) => name !== "wcls" || !sharedClassifier);
}

/** How many numbers of each matrix share a scale; 0 where it is float32. */
export function groupSizesOf(source: Holdings): Record<MatrixName, number> {
  const of = (name: MatrixName) => groupSizeOf(source.formatOf(name));
  const tokenEmbeddingTable = of("tokenEmbeddingTable");
  return {
    tokenEmbeddingTable,
    wq: of("wq"),
    wk: of("wk"),
    wv: of("wv"),
    wo: of("wo"),
    w1: of("w1"),
    w2: of("w2"),
    w3: of("w3"),
    wcls: source.sharedClassifier ? tokenEmbeddingTable : of("wcls"),
  };
}

// ----------------------------------------------------------------------------
// handing them over

/** The next float32 numbers of a tensor; `offset` of them came before. */
export interface FloatPiece {
  offset: number;
  values: Float32Array;
}

/**
 * The next int8 numbers of a matrix, in whole groups, with a scale for each group. Groups are counted from the tensor's
 * first number, so they may straddle rows. See quantize.ts.
 */
export interface Int8Piece {
  offset: number;
  q: Int8Array;
  scales: Float32Array;
}

export type Piece = FloatPiece | Int8Piece;

/** Where weights come from. Checkpoints are one; `llama2/` itself reads no files. */
export interface WeightSource extends Holdings {
  /**
   * One tensor of one layer (0 for those that have no layers), piece by piece, from its first number to its last:
   * FloatPieces or Int8Pieces, as `formatOf` says. All pieces but the last have a multiple of `multipleOf` numbers. A
   * piece is valid until the next one is requested.
   */
  pieces(name: TensorName, layer: number, multipleOf: number): AsyncIterable<Piece>;
}

/** A float32 tensor, piece by piece. */
export async function* floatPieces(
  source: WeightSource,
  name: TensorName,
  layer: number,
  multipleOf = 1,
): AsyncGenerator<FloatPiece, void> {
  for await (const piece of source.pieces(name, layer, multipleOf)) {
    if (!("values" in piece)) throw new TypeError(`${name} is int8, expected float32`);
    yield piece;
  }
}

/** An int8 matrix, piece by piece. */
export async function* int8Pieces(
  source: WeightSource,
  name: TensorName,
  layer: number,
  multipleOf = 1,
): AsyncGenerator<Int8Piece, void> {
  for await (const piece of source.pieces(name, layer, multipleOf)) {
    if (!("q" in piece)) throw new TypeError(`${name} is float32, expected int8`);
    yield piece;
  }
}

/** Makes a matrix of d rows and n columns from the tensor `name` of one layer. */
export type LoadMatrix = (
  source: WeightSource,
  name: MatrixName,
  layer: number,
  d: number,
  n: number,
) => Promise<Matrix>;

/** A matrix as the reference keeps it: plain rows, of float32 or of int8. */
export const loadRows: LoadMatrix = async (source, name, layer, d, n) => {
  if (source.formatOf(name) !== "float32") return packQuantized(await loadQuantizedRows(source, name, layer, d, n));
  const data = new Float32Array(d * n);
  for await (const { values, offset } of floatPieces(source, name, layer)) data.set(values, offset);
  return { data, d, n };
};

/** The rows of an int8 matrix. */
export async function loadQuantizedRows(
  source: WeightSource,
  name: MatrixName,
  layer: number,
  d: number,
  n: number,
): Promise<QuantizedRows> {
  const groupSize = groupSizeOf(source.formatOf(name));
  const q = new Int8Array(d * n);
  const s = new Float32Array((d * n) / groupSize);
  for await (const piece of int8Pieces(source, name, layer)) {
    q.set(piece.q, piece.offset);
    s.set(piece.scales, piece.offset / groupSize);
  }
  return { q, s, groupSize, d, n };
}

/** All weights of a model. `loadMatrix` decides how its matrices are kept. */
export async function loadWeights(source: WeightSource, loadMatrix: LoadMatrix): Promise<TransformerWeights> {
  const shapes = shapesOf(source.config);
  const vector = async (name: VectorName, layer = 0) => {
    const w = new Float32Array(shapes[name].n);
    for await (const { values, offset } of floatPieces(source, name, layer)) w.set(values, offset);
    return w;
  };
  const matrix = (name: MatrixName, layer = 0) => {
    return loadMatrix(source, name, layer, shapes[name].d, shapes[name].n);
  };
  const layersOf = async <T>(name: TensorName, load: (layer: number) => Promise<T>) => {
    const layers: T[] = [];
    for (let l = 0; l < shapes[name].layers; l++) layers.push(await load(l));
    return layers;
  };
  const vectors = (name: VectorName) => layersOf(name, (l) => vector(name, l));
  const matrices = (name: MatrixName) => layersOf(name, (l) => matrix(name, l));

  const tokenEmbeddingTable = await matrix("tokenEmbeddingTable");
  return {
    tokenEmbeddingTable,
    rmsAttWeight: await vectors("rmsAttWeight"),
    wq: await matrices("wq"),
    wk: await matrices("wk"),
    wv: await matrices("wv"),
    wo: await matrices("wo"),
    rmsFfnWeight: await vectors("rmsFfnWeight"),
    w1: await matrices("w1"),
    w2: await matrices("w2"),
    w3: await matrices("w3"),
    rmsFinalWeight: await vector("rmsFinalWeight"),
    wcls: source.sharedClassifier ? tokenEmbeddingTable : await matrix("wcls"),
  };
}

/** A model at work; without `loadMatrix` the reference. */
export async function loadTransformer(source: WeightSource, loadMatrix: LoadMatrix = loadRows): Promise<Transformer> {
  const config = source.config;
  return { config, weights: await loadWeights(source, loadMatrix), state: mallocRunState(config) };
}
