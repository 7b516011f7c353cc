/*
 * The stops of a forward pass: 16 in each layer and 3 outside. One table for the terminal, the page and the tests. The
 * source line of a stop, and where forward stops for it, are generated from transformer.ts: see forward.ts.
 */
import { show, usage } from "../check.ts";
import { type Config, headSizeOf, kvDimOf, type TransformerWeights } from "../llama2/transformer.ts";

export type StopId =
  | "embed"
  | "norm1"
  | "q"
  | "k"
  | "v"
  | "rope"
  | "scores"
  | "probs"
  | "mix"
  | "proj"
  | "res1"
  | "norm2"
  | "gate"
  | "up"
  | "act"
  | "down"
  | "res2"
  | "normOut"
  | "logits";

/** A tensor that a stop's line writes. `att` has a row for each head. */
export type TensorName = "x" | "xb" | "xb2" | "q" | "k" | "v" | "att" | "hb" | "hb2" | "logits";

export interface StopKind {
  id: StopId;
  /** Its name for display. */
  name: string;
  /** Where it is: once before the layers, in each layer, or once after them. */
  place: "before" | "layer" | "after";
  /** The line of run.c (at 350e04f) that does the same. */
  runc: number;
  /** The tensors that the line writes, by run.c's names. */
  tensors: readonly TensorName[];
  /** The stops whose values it reads; "x" is the residual stream, wherever it was written last. */
  reads: readonly (StopId | "x")[];
  /** The weights it reads, if any. */
  weights?: keyof TransformerWeights;
  /** TransformerLens' names of its tensors. */
  lens: readonly string[];
  /** Its purpose in a few sentences; {dim} and other words in braces stand for numbers of the model. */
  words: string;
}

export const STOPS: readonly StopKind[] = [
  {
    id: "embed",
    name: "embedding",
    place: "before",
    runc: 246,
    tensors: ["x"],
    reads: [],
    weights: "tokenEmbeddingTable",
    lens: ["hook_embed"],
    words:
      "A token is only a number. Here it becomes {dim} numbers, copied from its row of a learned table. From now on x is the model's running note about this position: every later step adds to it.",
  },
  {
    id: "norm1",
    name: "norm",
    place: "layer",
    runc: 252,
    tensors: ["xb"],
    reads: ["x"],
    weights: "rmsAttWeight",
    lens: ["ln1.hook_normalized"],
    words:
      "x is divided by its own typical size, and each entry is multiplied by a learned weight. Otherwise sizes would drift from layer to layer. xb is a working copy; x stays as it is.",
  },
  {
    id: "q",
    name: "query",
    place: "layer",
    runc: 260,
    tensors: ["q"],
    reads: ["norm1"],
    weights: "wq",
    lens: ["attn.hook_q"],
    words:
      "The query: what this position looks for. Each of the {nHeads} heads gets {headSize} of the {dim} numbers and looks for something of its own.",
  },
  {
    id: "k",
    name: "key",
    place: "layer",
    runc: 261,
    tensors: ["k"],
    reads: ["norm1"],
    weights: "wk",
    lens: ["attn.hook_k"],
    words:
      "The key: how later positions can find this one. There are {nKvHeads} key heads for {nHeads} query heads, so {kvMul} queries share a key. It goes into the KV cache, where every later token finds it.",
  },
  {
    id: "v",
    name: "value",
    place: "layer",
    runc: 262,
    tensors: ["v"],
    reads: ["norm1"],
    weights: "wv",
    lens: ["attn.hook_v"],
    words:
      "The value: what this position hands over when it is found. It goes into the cache beside its key and stays there for every later token.",
  },
  {
    id: "rope",
    name: "rotated q and k",
    place: "layer",
    runc: 276,
    tensors: ["q", "k"],
    reads: ["q", "k"],
    lens: ["attn.hook_rot_q", "attn.hook_rot_k"],
    words:
      "A dot product does not see word order. So each pair of numbers turns by an angle that grows with the position. When a query meets a key, only the distance between them counts. Values are not turned: they carry content, not place.",
  },
  {
    id: "scores",
    name: "scores",
    place: "layer",
    runc: 300,
    tensors: ["att"],
    reads: ["rope"],
    lens: ["attn.hook_attn_scores"],
    words:
      "Each head compares its query with the key of every position so far: {headSize} products, summed, and divided by the square root of {headSize} to keep them moderate. Positions that are still to come have no key yet, so there is nothing to hide: that is a decoder's mask.",
  },
  {
    id: "probs",
    name: "attention weights",
    place: "layer",
    runc: 304,
    tensors: ["att"],
    reads: ["scores"],
    lens: ["attn.hook_pattern"],
    words:
      "Softmax turns the scores of each head into shares that sum to 1. Differences become ratios: a score that is higher by 1 gets 2.7 times the share.",
  },
  {
    id: "mix",
    name: "weighted values",
    place: "layer",
    runc: 316,
    tensors: ["xb"],
    reads: ["probs"],
    lens: ["attn.hook_z"],
    words:
      "Each head mixes the values of all positions by those shares. This is the only step in which anything travels from one position to another.",
  },
  {
    id: "proj",
    name: "projection",
    place: "layer",
    runc: 322,
    tensors: ["xb2"],
    reads: ["mix"],
    weights: "wo",
    lens: ["hook_attn_out"],
    words:
      "What the {nHeads} heads have found lies end to end in xb. A learned matrix blends it into one contribution to x.",
  },
  {
    id: "res1",
    name: "residual",
    place: "layer",
    runc: 326,
    tensors: ["x"],
    reads: ["x", "proj"],
    lens: ["hook_resid_mid"],
    words:
      "The contribution is added to x; it does not replace it. What earlier layers wrote is still there for later ones to read.",
  },
  {
    id: "norm2",
    name: "norm",
    place: "layer",
    runc: 330,
    tensors: ["xb"],
    reads: ["x"],
    weights: "rmsFfnWeight",
    lens: ["ln2.hook_normalized"],
    words:
      "The same scaling, with weights of its own. Here the feed-forward network begins: this position works alone with what attention has brought it.",
  },
  {
    id: "gate",
    name: "gate",
    place: "layer",
    runc: 334,
    tensors: ["hb"],
    reads: ["norm2"],
    weights: "w1",
    lens: ["mlp.hook_pre"],
    words: "{hiddenDim} detectors. Each is one dot product with xb: is my pattern here, and how strongly?",
  },
  {
    id: "up",
    name: "up",
    place: "layer",
    runc: 335,
    tensors: ["hb2"],
    reads: ["norm2"],
    weights: "w3",
    lens: ["mlp.hook_pre_linear"],
    words: "{hiddenDim} amounts, one for each detector: how much to say, and with which sign, if the detector opens.",
  },
  {
    id: "act",
    name: "activation",
    place: "layer",
    runc: 344,
    tensors: ["hb"],
    reads: ["gate", "up"],
    lens: ["mlp.hook_post"],
    words:
      "silu lets large positive gates through and presses negative ones towards 0. Gate times amount is called SwiGLU.",
  },
  {
    id: "down",
    name: "down",
    place: "layer",
    runc: 348,
    tensors: ["xb"],
    reads: ["act"],
    weights: "w2",
    lens: ["hook_mlp_out"],
    words: "What the open detectors have to say, folded back from {hiddenDim} numbers to {dim}.",
  },
  {
    id: "res2",
    name: "residual",
    place: "layer",
    runc: 352,
    tensors: ["x"],
    reads: ["x", "down"],
    lens: ["hook_resid_post"],
    words: "Added to x again. The layer is done: the next one reads this x and does the same with other weights.",
  },
  {
    id: "normOut",
    name: "final norm",
    place: "after",
    runc: 357,
    tensors: ["x"],
    reads: ["x"],
    weights: "rmsFinalWeight",
    lens: ["ln_final.hook_normalized"],
    words:
      "The finished note is brought to a common size once more, so that it can be compared with the rows of the token table.",
  },
  {
    id: "logits",
    name: "logits",
    place: "after",
    runc: 360,
    tensors: ["logits"],
    reads: ["normOut"],
    weights: "wcls",
    lens: ["logits"],
    words:
      "How well does x match each of the {vocabSize} tokens? One dot product for each. These are scores, not probabilities: the sampler turns them into a choice.",
  },
];

const BY_ID = new Map(STOPS.map((stop) => [stop.id, stop]));

export const isStopId = (id: string): id is StopId => BY_ID.has(id as StopId);

/** The stop of this id. @throws Llama2Error E_USAGE if there is none */
export function stopOf(id: StopId): StopKind {
  const stop = BY_ID.get(id);
  if (stop === undefined) usage(`there is no stop ${show(id)}: the stops are ${[...BY_ID.keys()].join(", ")}`);
  return stop;
}

/** A stop of a pass, and its layer (-1: outside the layers). */
export interface Place {
  id: StopId;
  layer: number;
}

const of = (place: StopKind["place"]) => STOPS.filter((stop) => stop.place === place);

/** All stops of a pass, in the order in which they are reached: 16 nLayers + 3. */
export function placesOf(nLayers: number): Place[] {
  const inLayers = Array.from({ length: nLayers }, (_, layer) => of("layer").map(({ id }) => ({ id, layer })));
  const around = (place: StopKind["place"]) => of(place).map(({ id }) => ({ id, layer: -1 }));
  return [...around("before"), ...inLayers.flat(), ...around("after")];
}

/** The index of a stop among `placesOf`. */
export function indexOf({ id, layer }: Place, nLayers: number): number {
  const { place } = stopOf(id);
  if (place === "before") return of("before").findIndex((stop) => stop.id === id);
  const layers = of("layer");
  if (place === "layer") return of("before").length + layer * layers.length + layers.findIndex((s) => s.id === id);
  return of("before").length + nLayers * layers.length + of("after").findIndex((stop) => stop.id === id);
}

/** The name of a place: "L2.probs", or "logits". */
export const nameOf = ({ id, layer }: Place): string => (layer < 0 ? id : `L${layer}.${id}`);

/** The shape of a tensor at position `pos`. */
export function shapeOf(tensor: TensorName, p: Config, pos: number): number[] {
  switch (tensor) {
    case "k":
    case "v":
      return [kvDimOf(p)];
    case "att":
      return [p.nHeads, pos + 1];
    case "hb":
    case "hb2":
      return [p.hiddenDim];
    case "logits":
      return [p.vocabSize];
    default:
      return [p.dim];
  }
}

/** The numbers of a model that texts name in braces. */
function numbersOf(p: Config): Record<string, number> {
  const { dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen } = p;
  const derived = { headSize: headSizeOf(p), kvDim: kvDimOf(p), kvMul: nHeads / nKvHeads };
  return { dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen, ...derived };
}

/** A text with each name in braces replaced by the model's number. */
export const withNumbers = (text: string, p: Config): string =>
  text.replace(/\{(\w+)\}/g, (_, word) => `${numbersOf(p)[word] ?? word}`);

/** What a line computes, with shapes: "q (64) = wq[2] (64 x 64) . xb (64)". */
export function sentenceOf({ id, layer }: Place, p: Config, pos: number): string {
  const { dim, hiddenDim, vocabSize, headSize, kvDim, nHeads } = numbersOf(p);
  const t = pos + 1;
  const product = (out: string, n: number, w: string, x: string, m: number) =>
    `${out} (${n}) = ${w} (${n} × ${m}) · ${x} (${m})`;
  const inLayer = (w: string) => `${w}[${layer}]`;
  const norm = (out: string, w: string) => `${out} (${dim}) = rmsnorm(x (${dim})) × ${w} (${dim})`;
  const added = (xb: string) => `x (${dim}) = x (${dim}) + ${xb} (${dim})`;
  const sentences: Record<StopId, string> = {
    embed: `x (${dim}) = tokenEmbeddingTable (${vocabSize} × ${dim}) [token]`,
    norm1: norm("xb", inLayer("rmsAttWeight")),
    q: product("q", dim, inLayer("wq"), "xb", dim),
    k: product("k", kvDim, inLayer("wk"), "xb", dim),
    v: product("v", kvDim, inLayer("wv"), "xb", dim),
    rope: `q (${dim}), k (${kvDim}): each pair turned by position ${pos} × its frequency`,
    scores: `att (${nHeads} × ${t}) = q (${nHeads} × ${headSize}) · keyCache[${layer}] (${t} × ${kvDim}) / √${headSize}`,
    probs: `att (${nHeads} × ${t}) = softmax(att), row by row`,
    mix: `xb (${dim}) = att (${nHeads} × ${t}) · valueCache[${layer}] (${t} × ${kvDim})`,
    proj: product("xb2", dim, inLayer("wo"), "xb", dim),
    res1: added("xb2"),
    norm2: norm("xb", inLayer("rmsFfnWeight")),
    gate: product("hb", hiddenDim, inLayer("w1"), "xb", dim),
    up: product("hb2", hiddenDim, inLayer("w3"), "xb", dim),
    act: `hb (${hiddenDim}) = silu(hb (${hiddenDim})) × hb2 (${hiddenDim})`,
    down: product("xb", dim, inLayer("w2"), "hb", hiddenDim),
    res2: added("xb"),
    normOut: norm("x", "rmsFinalWeight"),
    logits: product("logits", vocabSize, "wcls", "x", dim),
  };
  return sentences[id];
}
