import { describe, expect, it } from "vitest";
import { randomModel } from "../../src/checkpoint/random.ts";
import { shapesOf, type TensorName, tensorsOf } from "../../src/llama2/weights.ts";

const CONFIG = {
  dim: 64,
  hiddenDim: 192,
  nLayers: 2,
  nHeads: 4,
  nKvHeads: 2,
  vocabSize: 32000,
  seqLen: 16,
  normEps: 1e-5,
  ropeTheta: 1e4,
};

async function read(name: TensorName, layer: number, int8: boolean, multipleOf = 1, seed = 1) {
  const source = randomModel(CONFIG, { int8, sharedClassifier: false, seed });
  const values: number[] = [];
  let scales = 0;
  for await (const piece of source.pieces(name, layer, multipleOf)) {
    expect(piece.offset).toBe(values.length);
    const numbers = "values" in piece ? piece.values : piece.q;
    if ("scales" in piece) scales += piece.scales.length;
    if (piece.offset + numbers.length < shapesOf(CONFIG)[name].d * shapesOf(CONFIG)[name].n) {
      expect(numbers.length % multipleOf).toBe(0);
    }
    for (const number of numbers) values.push(number);
  }
  return { values, scales };
}

describe("a model of random weights", () => {
  it.each([false, true])("has every tensor complete, in pieces of whole units (int8: %s)", async (int8) => {
    for (const { name, d, n } of tensorsOf({ config: CONFIG, sharedClassifier: false })) {
      const { values, scales } = await read(name, 0, int8, 3 * n);
      expect(values.length, name).toBe(d * n);
      if (scales > 0) expect(scales).toBe((d * n) / 64);
      expect(values.every((value) => Number.isFinite(value) && value !== undefined)).toBe(true);
    }
  });

  it("depends on the seed alone, and no layer or tensor equals another", async () => {
    const first = await read("wq", 0, false);
    expect(await read("wq", 0, false)).toEqual(first);
    expect(await read("wq", 0, false, 1, 2)).not.toEqual(first);
    expect(await read("wq", 1, false)).not.toEqual(first);
    expect(await read("wo", 0, false)).not.toEqual(first);
  });

  it("has no two equal rows, so no two logits tie", async () => {
    const { values } = await read("wcls", 0, false);
    const rows = new Set(Array.from({ length: 32000 }, (_, row) => values.slice(64 * row, 64 * row + 4).join()));
    expect(rows.size).toBe(32000);
  });
});
