/*
 * Weights on their way from wherever they are kept into a transformer: what they are called, how large each is, and
 * how they are handed over. A checkpoint is large, so it comes tensor by tensor and in pieces, and each backend puts
 * the pieces where its matmul wants to have them: never are there two copies of a model.
 */
import {
  type Config,
  kvDimOf,
  type Matrices,
  mallocRunState,
  matmul,
  type Rows,
  type Transformer,
  type TransformerWeights,
} from "./transformer.ts";

// ----------------------------------------------------------------------------
// the tensors

/** The tensors that a checkpoint holds, under run.c's names. */
export type TensorName = keyof TransformerWeights<unknown>;
/** The vectors among them, which are float32 in every checkpoint. */
export type VectorName = "rmsAttWeight" | "rmsFfnWeight" | "rmsFinalWeight";
export const isVector = (name: string): name is VectorName => /^rms/.test(name);
/** The matrices, which may be int8. */
export type MatrixName = Exclude<TensorName, VectorName>;

/** How often a tensor occurs, and its rows and columns. A vector has one row. */
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

/** What a source of weights has. */
export interface Holdings {
  readonly config: Config;
  /** The classifier is the embedding table: there is no `wcls` to read. */
  readonly sharedClassifier: boolean;
  /** How many numbers share a scale, where the matrices are int8 (version 2); 0 where they are float32. */
  readonly groupSize: number;
}

/** The tensors that a source has to read: all but the classifier where it is the embedding table. */
export function tensorsOf({ config, sharedClassifier }: Holdings): ({ name: TensorName } & Shape)[] {
  const all = Object.entries(shapesOf(config)).map(([name, shape]) => ({ name: name as TensorName, ...shape }));
  return all.filter(({ name }) => name !== "wcls" || !sharedClassifier);
}

// ----------------------------------------------------------------------------
// handing them over

/** Where weights come from. Checkpoints are one; `llama2/` itself reads no files. */
export interface WeightSource extends Holdings {
  /**
   * Hand over one tensor of one layer (0 for those that have no layers) in pieces: `fill` gets the next values,
   * which are good until it returns, and how many came before them. Vectors are always float32; matrices where
   * groupSize is 0.
   */
  read(name: TensorName, layer: number, fill: (values: Float32Array, offset: number) => void): void;
  /**
   * The same for a matrix where groupSize is not 0: the next numbers, whole groups of them, and the scales of
   * those groups. Groups are counted from the tensor's first number on, so they may straddle rows. See quantize.ts.
   */
  readQuantized(
    name: MatrixName,
    layer: number,
    fill: (q: Int8Array, scales: Float32Array, offset: number) => void,
  ): void;
}

/** How matrices are kept in memory. */
export interface MatrixLayout<M> extends Matrices<M> {
  /** Read a matrix of d rows and n columns: the tensor `name` of one layer. */
  load(source: WeightSource, name: MatrixName, layer: number, d: number, n: number): M;
}

/** The reference's layout: plain rows, multiplied one by one. */
export const rows: MatrixLayout<Rows> = {
  load(source, name, layer, d, n) {
    const data = new Float32Array(d * n);
    source.read(name, layer, (values, offset) => data.set(values, offset));
    return { data, d, n };
  },
  matmul,
  copyRow: (xout, w, row) => xout.set(w.data.subarray(row * w.n, (row + 1) * w.n)),
};

/** run.c 111: memory_map_weights. C points into the mapped file; here each layout makes its own matrices. */
export function memoryMapWeights<M>(source: WeightSource, layout: MatrixLayout<M>): TransformerWeights<M> {
  const shapes = shapesOf(source.config);
  const vector = (name: VectorName, layer = 0) => {
    const w = new Float32Array(shapes[name].n);
    source.read(name, layer, (values, offset) => w.set(values, offset));
    return w;
  };
  const matrix = (name: MatrixName, layer = 0) => {
    return layout.load(source, name, layer, shapes[name].d, shapes[name].n);
  };
  const vectors = (name: VectorName) => Array.from({ length: shapes[name].layers }, (_, l) => vector(name, l));
  const matrices = (name: MatrixName) => Array.from({ length: shapes[name].layers }, (_, l) => matrix(name, l));

  const tokenEmbeddingTable = matrix("tokenEmbeddingTable");
  return {
    tokenEmbeddingTable,
    rmsAttWeight: vectors("rmsAttWeight"),
    wq: matrices("wq"),
    wk: matrices("wk"),
    wv: matrices("wv"),
    wo: matrices("wo"),
    rmsFfnWeight: vectors("rmsFfnWeight"),
    w1: matrices("w1"),
    w2: matrices("w2"),
    w3: matrices("w3"),
    rmsFinalWeight: vector("rmsFinalWeight"),
    wcls: source.sharedClassifier ? tokenEmbeddingTable : matrix("wcls"),
  };
}

/** run.c 164: build_transformer. Without a layout, the reference's plain rows. */
export function buildTransformer(source: WeightSource): Transformer<Rows>;
export function buildTransformer<M>(source: WeightSource, layout: MatrixLayout<M>): Transformer<M>;
export function buildTransformer(source: WeightSource, layout: MatrixLayout<unknown> = rows): Transformer<unknown> {
  const config = source.config;
  return { config, weights: memoryMapWeights(source, layout), state: mallocRunState(config), layout };
}
