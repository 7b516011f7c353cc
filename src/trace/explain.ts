/*
 * Explains a value: the terms that a line of forward added up, in its order and with its roundings, so that their sum is
 * the value to the last bit. Runs in browsers.
 */
import { Llama2Error } from "../errors.ts";
import { cosf, expf, f32, sinf } from "../llama2/math.ts";
import { copyRow, headSizeOf, type Matrix } from "../llama2/transformer.ts";
import { checkPlace, checkRun, type TracedRun } from "./run.ts";
import { nameOf, type Place, type StopId, stopOf, type TensorName } from "./stops.ts";

/** A value of a run: the `index`th number of a tensor of a stop, in row order. */
export interface Ref extends Place {
  pos: number;
  tensor: TensorName;
  index: number;
}

/** A factor of a term: a weight, or a value that an earlier stop wrote, at `ref`. */
export interface Factor {
  name: string;
  value: number;
  ref?: Ref;
}

/** A term of a sum: the product of its factors, rounded as the line rounds it. */
export interface Term {
  factors: Factor[];
  value: number;
}

export interface Explanation {
  ref: Ref;
  value: number;
  /** In the source's notation: "q[5] = Σ wq[2][5][j] × xb[j]". */
  formula: string;
  /** In the order in which they were added. */
  terms: Term[];
  /** The float32 sum after each of them. */
  sums: Float32Array;
  /** The result: the sum, after the line's other operations on it. */
  result: number;
  /** Whether `result` is `value`, bit for bit. */
  exact: boolean;
  /** If not exact: why. */
  note?: string;
  /** The value that this one comes from, if that is not a term: a norm adds squares, but scales x. */
  carries?: Term[];
}

/** @throws Llama2Error E_USAGE for a value that does not exist */
export function explain(run: TracedRun, ref: Ref): Explanation {
  checkRun(run);
  checkPlace(ref);
  const values = run.values(ref.pos, ref, ref.tensor);
  if (!(ref.index in values)) {
    const message = `${nameOf(ref)}[${ref.index}] is not there: ${ref.tensor} has 0 to ${values.length - 1}`;
    throw new Llama2Error("E_USAGE", message);
  }
  const value = values[ref.index];
  const made = new Maker(run, ref).make();
  const sums = new Float32Array(made.terms.length);
  let sum = 0;
  for (const [i, term] of made.terms.entries()) {
    sum = i === 0 && made.startsWithFirst ? term.value : f32(sum + term.value);
    sums[i] = sum;
  }
  const result = made.finish ? made.finish(sum) : sum;
  const { formula, terms, carries } = made;
  const exact = Object.is(result, value);
  const note = !exact && run.isHooked(ref.id) ? "a hook has changed what this line wrote" : made.note;
  return { ref, value, formula, terms, sums, result, exact, note, carries };
}

interface Made {
  formula: string;
  terms: Term[];
  /** The sum begins with the first term instead of 0, which matters only for -0. */
  startsWithFirst?: boolean;
  /** The line's other operations on the sum. */
  finish?: (sum: number) => number;
  note?: string;
  carries?: Term[];
}

/** The stop that wrote the x that a residual, a norm or the classifier reads. */
export function residualBefore({ id, layer }: Place, nLayers: number): Place {
  if (id === "norm2" || id === "res2") return { id: "res1", layer };
  if (id === "normOut") return { id: "res2", layer: nLayers - 1 };
  return layer === 0 ? { id: "embed", layer: -1 } : { id: "res2", layer: layer - 1 };
}

class Maker {
  private readonly run: TracedRun;
  private readonly ref: Ref;

  constructor(run: TracedRun, ref: Ref) {
    this.run = run;
    this.ref = ref;
  }

  make(): Made {
    const w = this.run.transformer.weights;
    const { id, layer: l, index: i, pos } = this.ref;
    switch (id) {
      case "embed":
        return this.embedding(this.run.tokens[pos]);
      case "norm1":
        return this.norm(w.rmsAttWeight[l], `rmsAttWeight[${l}]`);
      case "norm2":
        return this.norm(w.rmsFfnWeight[l], `rmsFfnWeight[${l}]`);
      case "normOut":
        return this.norm(w.rmsFinalWeight, "rmsFinalWeight");
      case "q":
        return this.matmul(w.wq[l], `wq[${l}]`, "norm1");
      case "k":
        return this.matmul(w.wk[l], `wk[${l}]`, "norm1");
      case "v":
        return this.matmul(w.wv[l], `wv[${l}]`, "norm1");
      case "proj":
        return this.matmul(w.wo[l], `wo[${l}]`, "mix");
      case "gate":
        return this.matmul(w.w1[l], `w1[${l}]`, "norm2");
      case "up":
        return this.matmul(w.w3[l], `w3[${l}]`, "norm2");
      case "down":
        return this.matmul(w.w2[l], `w2[${l}]`, "act");
      case "logits":
        return this.matmul(w.wcls, "wcls", "normOut", -1);
      case "res1":
        return this.added("proj", i);
      case "res2":
        return this.added("down", i);
      case "rope":
        return this.rotation();
      case "scores":
        return this.score();
      case "probs":
        return this.share();
      case "mix":
        return this.mixture();
      case "act":
        return this.activation();
    }
  }

  /** A value of an earlier stop, as a factor. */
  private at(id: StopId, index: number, layer = this.ref.layer, pos = this.ref.pos, tensor = tensorOf(id)): Factor {
    const ref: Ref = { id, layer, pos, tensor, index };
    const where = pos === this.ref.pos ? "" : ` at ${pos}`;
    return { name: `${tensor}[${index}]${where}`, value: this.run.values(pos, ref, tensor)[index], ref };
  }

  private embedding(token: number): Made {
    const { index: i } = this.ref;
    const { config, weights } = this.run.transformer;
    const value = rowOf(weights.tokenEmbeddingTable, token, config.dim)[i];
    const name = `tokenEmbeddingTable[${token}][${i}]`;
    return { formula: `x[${i}] = ${name}`, terms: [{ factors: [{ name, value }], value }], startsWithFirst: true };
  }

  private norm(weight: Float32Array, name: string): Made {
    const { index: i, tensor } = this.ref;
    const { nLayers, normEps } = this.run.transformer.config;
    const { id, layer } = residualBefore(this.ref, nLayers);
    const x = this.run.values(this.ref.pos, { id, layer });
    const terms = Array.from(x, (value, j) => {
      const factor = this.at(id, j, layer);
      return { factors: [factor, factor], value: f32(value * value) };
    });
    const scaleOf = (sum: number) => f32(1 / f32(Math.sqrt(f32(f32(sum / x.length) + normEps))));
    const finish = (sum: number) => f32(weight[i] * f32(scaleOf(sum) * x[i]));
    const sum = terms.reduce((sum, { value }) => f32(sum + value), 0);
    const factors = [
      { name: `${name}[${i}]`, value: weight[i] },
      { name: "1 / rms", value: scaleOf(sum) },
      this.at(id, i, layer),
    ];
    return {
      formula: `${tensor}[${i}] = ${name}[${i}] × x[${i}] / √(Σ x[j]² / ${x.length} + ${Number(normEps.toPrecision(6))})`,
      terms,
      finish,
      carries: [{ factors, value: finish(sum) }],
    };
  }

  private matmul(w: Matrix, name: string, from: StopId, layer = this.ref.layer): Made {
    const { index: i, tensor } = this.ref;
    const x = this.run.values(this.ref.pos, { id: from, layer });
    const row = rowOf(w, i, x.length);
    const terms = Array.from(x, (value, j) => ({
      factors: [{ name: `${name}[${i}][${j}]`, value: row[j] }, this.at(from, j, layer)],
      value: f32(row[j] * value),
    }));
    const made: Made = { formula: `${tensor}[${i}] = Σ ${name}[${i}][j] × ${tensorOf(from)}[j]`, terms };
    if ("matmul" in w) {
      made.note =
        "the matrix is int8: its products are summed as whole numbers, group by group, so these float32 terms come near";
    }
    return made;
  }

  private added(from: StopId, i: number): Made {
    const before = residualBefore(this.ref, this.run.transformer.config.nLayers);
    const factors = [this.at(before.id, i, before.layer), this.at(from, i)];
    const terms = factors.map((factor) => ({ factors: [factor], value: factor.value }));
    return { formula: `x[${i}] = x[${i}] + ${tensorOf(from)}[${i}]`, terms, startsWithFirst: true };
  }

  private rotation(): Made {
    const { index: i, tensor, pos } = this.ref;
    const { state, config } = this.run.transformer;
    const pair = ((i - (i % 2)) % headSizeOf(config)) / 2;
    const turned = f32(pos * state.freq[pair]);
    const id = tensor === "q" ? "q" : "k";
    const [v0, v1] = [this.at(id, i - (i % 2)), this.at(id, i - (i % 2) + 1)];
    const angle = `${pos} × ${Number(state.freq[pair].toPrecision(5))}`;
    const [c, s] = [
      { name: `cos(${angle})`, value: cosf(turned) },
      { name: `sin(${angle})`, value: sinf(turned) },
    ];
    const isFirst = i % 2 === 0;
    const [a, b] = isFirst ? [c, s] : [s, c];
    const terms = [
      { factors: [a, v0], value: f32(v0.value * a.value) },
      { factors: [b, v1], value: isFirst ? -f32(v1.value * b.value) : f32(v1.value * b.value) },
    ];
    const formula = `${tensor}[${i}] = ${v0.name} × ${a.name} ${isFirst ? "−" : "+"} ${v1.name} × ${b.name}`;
    return { formula, terms, startsWithFirst: true };
  }

  /** The row and column of an index of att, and the offset of that head's keys and values. */
  private head() {
    const { index, pos, id } = this.ref;
    const { config } = this.run.transformer;
    const size = headSizeOf(config);
    const h = Math.floor(index / (id === "mix" ? size : pos + 1));
    const group = Math.floor(h / (config.nHeads / config.nKvHeads)) * size;
    return { h, t: index % (pos + 1), size, group };
  }

  private score(): Made {
    const { layer } = this.ref;
    const { h, t, size, group } = this.head();
    const terms = Array.from({ length: size }, (_, j) => {
      const q = this.at("rope", h * size + j, layer, this.ref.pos, "q");
      const k = this.at("rope", group + j, layer, t, "k");
      return { factors: [q, k], value: f32(q.value * k.value) };
    });
    const finish = (sum: number) => f32(sum / f32(Math.sqrt(size)));
    return { formula: `att[${h}][${t}] = Σ q[${h * size} + j] × k at ${t} [${group} + j] / √${size}`, terms, finish };
  }

  private share(): Made {
    const { pos, layer } = this.ref;
    const { h, t } = this.head();
    const row = this.run.values(pos, { id: "scores", layer }).subarray(h * (pos + 1), (h + 1) * (pos + 1));
    const max = Math.max(...row);
    const terms = Array.from(row, (score, j) => {
      const value = expf(f32(score - max));
      return { factors: [{ ...this.at("scores", h * (pos + 1) + j), name: `att[${h}][${j}]` }], value };
    });
    const finish = (sum: number) => f32(terms[t].value / sum);
    const formula = `att[${h}][${t}] = e^(att[${h}][${t}] − ${Number(max.toPrecision(6))}) / Σ e^(att[${h}][j] − ${Number(max.toPrecision(6))})`;
    return { formula, terms, finish, carries: [terms[t]] };
  }

  private mixture(): Made {
    const { pos, layer, index } = this.ref;
    const { h, size, group } = this.head();
    const terms = Array.from({ length: pos + 1 }, (_, t) => {
      const a = { ...this.at("probs", h * (pos + 1) + t), name: `att[${h}][${t}]` };
      const v = this.at("v", group + (index % size), layer, t);
      return { factors: [a, v], value: f32(a.value * v.value) };
    });
    return { formula: `xb[${index}] = Σ att[${h}][t] × v at t [${group + (index % size)}]`, terms };
  }

  private activation(): Made {
    const { index: i } = this.ref;
    const [gate, up] = [this.at("gate", i), this.at("up", i)];
    const silu = f32(gate.value * f32(1 / f32(1 + expf(-gate.value))));
    const factors = [{ name: `silu(${gate.name})`, value: silu, ref: gate.ref }, up];
    const value = f32(silu * up.value);
    return { formula: `hb[${i}] = silu(hb[${i}]) × hb2[${i}]`, terms: [{ factors, value }], startsWithFirst: true };
  }
}

const tensorOf = (id: StopId): TensorName => stopOf(id).tensors[0];

/** A row of a matrix, (n), as float32; int8 weights are dequantized. */
export function rowOf(w: Matrix, row: number, n: number): Float32Array {
  if ("data" in w) return w.data.subarray(row * n, (row + 1) * n);
  const values = new Float32Array(n);
  copyRow(values, w, row);
  return values;
}
