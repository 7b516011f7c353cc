/*
 * How values were computed: sums that reproduce them to the last bit, and the way back to weights and tokens.
 */
import { describe, expect, it } from "vitest";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { ablation } from "../../src/trace/ablate.ts";
import { explain, type Ref } from "../../src/trace/explain.ts";
import { lensAt, residualsOf, sharesOf } from "../../src/trace/lens.ts";
import { TracedModel } from "../../src/trace/model.ts";
import { leadsTo, why } from "../../src/trace/why.ts";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";

const open = async (shape: string) => TracedModel.load(shape, await openFile(checkpointFile(SHAPES[shape])), undefined);
const tokens = [1, 5, 7, 5, 200];

describe.each(["gqa", "mqa", "tiny"])("in a model of the shape %s", (shape) => {
  it.each([0, 3])("the terms of every value of every stop at position %i come to it, bit for bit", async (pos) => {
    const run = (await open(shape)).run(tokens);
    const wrong: string[] = [];
    let count = 0;
    for (const { id, layer, tensors } of run.at(pos).stops) {
      for (const { name, values } of tensors) {
        for (let index = 0; index < values.length; index += id === "logits" ? 37 : 5) {
          const { exact, value, result } = explain(run, { id, layer, pos, tensor: name, index });
          if (!exact) wrong.push(`${id} ${layer} ${name}[${index}]: ${value}, not ${result}`);
          count++;
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(count).toBeGreaterThan(100);
  });
});

describe("the source of a term", () => {
  it("exists, with the term's value", async () => {
    const run = (await open("gqa")).run(tokens);
    for (const { id, layer, tensors } of run.at(4).stops) {
      const { terms } = explain(run, { id, layer, pos: 4, tensor: tensors[0].name, index: 3 });
      for (const { factors } of terms) {
        for (const { ref, value, name } of factors) {
          if (!ref || name.startsWith("silu")) continue;
          expect(run.values(ref.pos, ref, ref.tensor)[ref.index]).toBe(value);
        }
      }
    }
  });

  it("ends at a row of the embedding table, its token and its position", async () => {
    const run = (await open("gqa")).run(tokens);
    let last = why(run, { id: "logits", layer: -1, pos: 4, tensor: "logits", index: 12 }, 100);
    const passed: Ref[] = [];
    while (last.next) {
      passed.push(last.ref);
      last = last.next;
    }
    expect(last.ref.id).toBe("embed");
    expect(last.terms[0].factors[0].name).toBe(`tokenEmbeddingTable[${tokens[last.ref.pos]}][${last.ref.index}]`);
    expect(passed.length).toBeGreaterThan(2);
  });

  it("is the largest term's; a residual is the sum of all that was added to it, in one step and to the last bit", async () => {
    const run = (await open("gqa")).run(tokens);
    const { largest, exact, terms, next } = why(run, { id: "res2", layer: 2, pos: 4, tensor: "x", index: 7 }, 2);
    expect(exact).toBe(true);
    expect(terms.length).toBe(7); // the embedding, and two a layer
    expect(Math.abs(largest[0].value)).toBe(Math.max(...terms.map(({ value }) => Math.abs(value))));
    expect(next?.ref).toEqual(leadsTo(largest[0]));
  });

  it("is refused for a value that does not exist", async () => {
    const run = (await open("gqa")).run(tokens);
    const ref: Ref = { id: "q", layer: 0, pos: 4, tensor: "q", index: 48 };
    expect(() => explain(run, ref)).toThrow("L0.q[48] is not there: q has 0 to 47");
    expect(() => explain(run, { ...ref, layer: 3 })).toThrow("there is no q at q of layer 3");
    expect(() => explain(run, { ...ref, pos: 5 })).toThrow("position 5 was not read");
  });
});

describe("hooks", () => {
  it("read a stop's values, and forward continues with the values that they leave", async () => {
    const model = await open("gqa");
    const seen: string[] = [];
    const run = model.run(tokens, {
      probs(values, { layer, head, pos }) {
        seen.push(`${pos}.${layer}.${head}`);
        values.fill(0);
        values[0] = 1; // all heads look at BOS only
      },
    });
    expect(seen.length).toBe(tokens.length * 3 * 6);
    const v = run.values(0, { id: "v", layer: 1 });
    const mix = run.values(4, { id: "mix", layer: 1 });
    expect(mix.subarray(0, 8)).toEqual(v.subarray(0, 8));
    expect(mix.subarray(40, 48)).toEqual(v.subarray(8, 16)); // head 5 reads key head 1
  });

  it("a value that a hook has changed is reported as not exact, with the reason", async () => {
    const model = await open("gqa");
    const run = model.run(tokens, ablation(["L1.H2"], model.config));
    const at = (index: number) => explain(run, { id: "mix", layer: 1, pos: 4, tensor: "xb", index });
    expect(at(2 * 8 + 1)).toMatchObject({ value: 0, exact: false, note: "a hook has changed what this line wrote" });
    expect(at(3 * 8 + 1)).toMatchObject({ exact: true, note: undefined });
  });

  it("ablation switches off heads, half layers and layers, several at once", async () => {
    const model = await open("gqa");
    const run = model.run(tokens, ablation(["L0", "L1.att", "L2.ffn", "L2.H5", "L2.H0"], model.config));
    const at = (id: "proj" | "down" | "mix", layer: number) => run.values(4, { id, layer });
    const isZero = (values: Float32Array) => values.every((value) => value === 0);
    expect([at("proj", 0), at("down", 0), at("proj", 1), at("down", 2)].map(isZero)).toEqual([true, true, true, true]);
    expect([at("down", 1), at("proj", 2)].map(isZero)).toEqual([false, false]);
    const heads = Array.from({ length: 6 }, (_, h) => isZero(at("mix", 2).subarray(h * 8, (h + 1) * 8)));
    expect(heads).toEqual([true, false, false, false, false, true]);
  });

  it.each(["L3", "L0.H6", "L0.mlp", "H2", "l0", ""])("ablating %j is refused", async (part) => {
    const { config } = await open("gqa");
    expect(() => ablation([part], config)).toThrow("no part of this model");
  });
});

describe("the logit lens", () => {
  it("at the last residual gives the model's logits, bit for bit", async () => {
    const model = await open("gqa");
    const run = model.run(tokens);
    const residuals = residualsOf(model.config.nLayers);
    expect(residuals.length).toBe(7);
    expect(lensAt(run, 4, residuals[6])).toEqual(run.logits);
    expect(lensAt(run, 4, residuals[5])).not.toEqual(run.logits);
  });

  it("the contributions of the embedding, heads and feed-forward networks sum to a logit", async () => {
    const model = await open("gqa");
    const run = model.run(tokens);
    const { shares, logit, residue } = sharesOf(run, 4, 12);
    expect(logit).toBe(run.logits[12]);
    expect(shares.map(({ name }) => name).slice(0, 8)).toEqual([
      "embed",
      "L0.H0",
      "L0.H1",
      "L0.H2",
      "L0.H3",
      "L0.H4",
      "L0.H5",
      "L0.ffn",
    ]);
    expect(Math.abs(residue)).toBeLessThan(1e-5);
    expect(Math.abs(logit)).toBeGreaterThan(1e-2);
  });
});
