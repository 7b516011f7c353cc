import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { headSizeOf, kvDimOf, type Rows } from "../../src/llama2/transformer.ts";
import { loadTransformer } from "../../src/llama2/weights.ts";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";
import { ROOT } from "../helpers/golden.ts";

/*
 * run.c's own comment on key_cache says (layer, seq_len, dim), which is wrong for grouped queries, and others
 * copied it. So the shapes that stand beside our fields are read here, and held against a model with such groups.
 */
const source = readFileSync(`${ROOT}/src/llama2/transformer.ts`, "utf8");

/** The fields of an interface and the shapes in their comments: "wk: M[]; // (nLayers, kvDim, dim)". */
function shapesOf(name: string): [field: string, shape: string | undefined][] {
  const body = new RegExp(`export interface ${name}\\b[^{]*\\{\\n([^}]*)\\}`).exec(source)?.[1] ?? "";
  const fields = body.split("\n").filter((line) => /^ {2}\w+:/.test(line));
  return fields.map((line) => [/\w+/.exec(line)?.[0] ?? "", /\/\/ \(([^)]*)\)/.exec(line)?.[1]]);
}

const transformer = await loadTransformer(await openFile(checkpointFile(SHAPES.gqa, { untied: true })));
const p = transformer.config;
const names: Record<string, number> = { ...p, kvDim: kvDimOf(p), headSize: headSizeOf(p) };

/** "nLayers, headSize / 2" -> [3, 4] */
const evaluate = (shape: string) =>
  shape.split(",").map((term) => {
    const [factor, divisor = "1"] = term.split("/").map((word) => word.trim());
    return names[factor] / Number(divisor);
  });

const product = (numbers: number[]) => numbers.reduce((a, b) => a * b, 1);
const isMatrix = (value: unknown): value is Rows => typeof value === "object" && value !== null && "data" in value;

/** The shape that a field really has, as far as its value knows it: lists know layers, matrices rows and columns. */
function actual(value: unknown): { known: number[]; numbers: number } {
  if (value instanceof Float32Array) return { known: [], numbers: value.length };
  if (isMatrix(value)) return { known: [value.d, value.n], numbers: value.data.length };
  const layers = (value as unknown[]).map(actual);
  return { known: [layers.length, ...layers[0].known], numbers: layers.reduce((sum, l) => sum + l.numbers, 0) };
}

describe.each([
  ["TransformerWeights", transformer.weights],
  ["RunState", transformer.state],
] as const)("the shapes beside the fields of %s", (name, object) => {
  const fields = shapesOf(name);

  it("exist for every field", () => {
    expect(fields.map(([field]) => field).sort()).toEqual(Object.keys(object).sort());
    expect(fields.filter(([, shape]) => shape === undefined)).toEqual([]);
  });

  it.each(fields)("%s (%s)", (field, shape = "") => {
    const expected = evaluate(shape);
    const { known, numbers } = actual(object[field as keyof typeof object]);
    expect(numbers).toBe(product(expected));
    expect(known).toEqual(expected.slice(0, known.length));
  });
});

it("the model tells dim, kvDim, hiddenDim and the others apart", () => {
  expect(new Set([p.dim, p.hiddenDim, p.nLayers, p.nHeads, p.vocabSize, p.seqLen, kvDimOf(p)]).size).toBe(7);
});
