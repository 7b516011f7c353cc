import { describe, expect, it } from "vitest";
import { explain } from "../../src/trace/explain.ts";
import { TracedModel } from "../../src/trace/model.ts";
import { openTrace } from "../../src/trace/open.ts";
import { patch, placeNamed, weightNamed, withWeight } from "../../src/trace/patch.ts";

const model = await openTrace();
const { weights, config } = model;
const run = model.run("Once upon a time");
const source = model.run("The dog ran");

describe("a patched activation", () => {
  it("is the other run's; later values differ, and earlier ones do not", () => {
    const place = { id: "res1", layer: 2 } as const;
    const patched = model.run("Once upon a time", patch(source, 2, place, 3));
    expect(patched.values(3, place)).toEqual(source.values(2, place));
    expect(patched.values(3, { id: "proj", layer: 2 })).toEqual(run.values(3, { id: "proj", layer: 2 }));
    expect(patched.values(3, { id: "norm2", layer: 2 })).not.toEqual(run.values(3, { id: "norm2", layer: 2 }));
    expect(patched.values(2, { id: "logits", layer: -1 })).toEqual(run.values(2, { id: "logits", layer: -1 }));
    expect(patched.logits).not.toEqual(run.logits);
  });

  it("from the same run changes nothing, at any stop", () => {
    for (const name of ["embed", "L0.q", "L1.rope", "L2.v", "L3.act", "normOut", "logits"]) {
      const place = placeNamed(name, config);
      expect(model.run("Once upon a time", patch(run, 2, place, 2)).logits, name).toEqual(run.logits);
    }
  });

  it("is refused if the number of values depends on the position, and at stops that do not exist", () => {
    expect(() => patch(source, 2, { id: "probs", layer: 0 }, 3)).toThrow(/L0\.probs/);
    for (const name of ["L9.q", "q", "L0.logits", "L1.nothing", "", "L0", "constructor"]) {
      expect(() => placeNamed(name, config), name).toThrow(/is no stop of this model/);
    }
  });
});

describe("a changed weight", () => {
  it("has the name that explain uses, in every matrix and norm", () => {
    for (const ref of [
      { id: "q", layer: 1, tensor: "q" },
      { id: "down", layer: 4, tensor: "xb" },
      { id: "logits", layer: -1, tensor: "logits" },
      { id: "norm1", layer: 3, tensor: "xb" },
      { id: "normOut", layer: -1, tensor: "x" },
      { id: "embed", layer: -1, tensor: "x" },
    ] as const) {
      const { terms, carries } = explain(run, { ...ref, pos: 3, index: 7 });
      for (const { name, value, ref: from } of (carries ?? terms).flatMap(({ factors }) => factors)) {
        if (!from && name !== "1 / rms") expect(weightNamed(weights, name), name).toBe(value);
      }
    }
  });

  it("differs by that number alone, and leaves the model as it was", () => {
    const before = weightNamed(weights, "wq[1][44][176]");
    const changed = withWeight(weights, "wq[1][44][176]", 9);
    expect([weightNamed(changed, "wq[1][44][176]"), weightNamed(weights, "wq[1][44][176]")]).toEqual([9, before]);
    const other = new TracedModel("other", config, changed, model.tokenizer).run("Once upon a time");
    const apart = other
      .values(3, { id: "q", layer: 1 })
      .map((value, i) => Number(value !== run.values(3, { id: "q", layer: 1 })[i]));
    expect(apart.indexOf(1)).toBe(44);
    expect(apart.lastIndexOf(1)).toBe(44);
    expect(other.values(3, { id: "k", layer: 1 })).toEqual(run.values(3, { id: "k", layer: 1 }));
  });

  it("of the shared table changes the embedding and the classifier", () => {
    const changed = withWeight(weights, "wcls[12][3]", 5);
    expect(weightNamed(changed, "tokenEmbeddingTable[12][3]")).toBe(5);
    expect(weightNamed(withWeight(weights, "rmsFfnWeight[2][5]", 0.5), "rmsFfnWeight[2][5]")).toBe(0.5);
  });

  it("is refused for a weight that does not exist", () => {
    for (const name of [
      "wq[1][44]",
      "wq[9][0][0]",
      "wq[0][192][0]",
      "rmsFinalWeight[192]",
      "x[0]",
      "",
      "wq",
      "toString[0]",
    ]) {
      expect(() => withWeight(weights, name, 1), name).toThrow(/is no weight of this model/);
    }
  });
});
