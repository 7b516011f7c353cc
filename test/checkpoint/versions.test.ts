import { describe, expect, it } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { dequantize } from "../../src/llama2/quantize.ts";
import { buildTransformer, isVector, type MatrixName, shapesOf, type TensorName } from "../../src/llama2/weights.ts";
import { SHAPES, type Shape } from "../helpers/checkpoint.ts";
import { forcedTokens, logitsSha256, sha256 } from "../helpers/golden.ts";
import { patched, versionFile } from "../helpers/versions.ts";

/** Two pieces and a bit for each tensor of one number a token and column. */
const LARGE: Shape = [96, 96, 1, 2, 2, 23000, 8];
const groupSize = 96; // does not divide the size of a piece, 2^20

/** All tensors of a checkpoint, every layer of them. */
function tensorsOf({ config, sharedClassifier }: Checkpoint): { name: TensorName; layer: number; size: number }[] {
  return Object.entries(shapesOf(config))
    .filter(([name]) => name !== "wcls" || !sharedClassifier)
    .flatMap(([name, { layers, d, n }]) =>
      Array.from({ length: layers }, (_, layer) => ({ name: name as TensorName, layer, size: d * n })),
    );
}

function float32(checkpoint: Checkpoint, name: TensorName, layer: number, size: number): Float32Array {
  const all = new Float32Array(size);
  let next = 0;
  checkpoint.read(name, layer, (values, offset) => {
    expect(offset).toBe(next);
    next += values.length;
    all.set(values, offset);
  });
  expect(next).toBe(size);
  return all;
}

const sum = (values: Float32Array) => sha256(new Uint8Array(values.buffer));

describe.each([
  ["tied", "of layers", SHAPES.gqa, 16],
  ["untied", "of layers", SHAPES.gqa, 16],
  ["tied", "of several pieces", LARGE, groupSize],
] as const)("a %s model with tensors %s", async (tied, _, shape, groupSize) => {
  const options = { untied: tied === "untied", groupSize };
  const [v0, v1, v2] = await Promise.all(
    ([0, 1, 2] as const).map(async (version) => new Checkpoint(await versionFile(version, shape, options))),
  );

  it("has the same shape in every version", () => {
    for (const { config, sharedClassifier } of [v1, v2]) {
      expect(config).toEqual(v0.config);
      expect(sharedClassifier).toBe(tied === "tied");
    }
    expect([v0, v1, v2].map((checkpoint) => checkpoint.groupSize)).toEqual([0, 0, groupSize]);
  });

  it("has the same numbers in version 1", () => {
    for (const { name, layer, size } of tensorsOf(v0)) {
      expect(sum(float32(v1, name, layer, size))).toBe(sum(float32(v0, name, layer, size)));
    }
  });

  it("has the same vectors in version 2, and matrices that are at most half a scale off", () => {
    for (const { name, layer, size } of tensorsOf(v0)) {
      const expected = float32(v0, name, layer, size);
      if (isVector(name)) {
        expect(sum(float32(v2, name, layer, size))).toBe(sum(expected));
        continue;
      }
      const q = new Int8Array(size);
      const s = new Float32Array(size / groupSize);
      v2.readQuantized(name as MatrixName, layer, (values, scales, offset) => {
        expect(values.length).toBe(scales.length * groupSize);
        q.set(values, offset);
        s.set(scales, offset / groupSize);
      });
      const actual = new Float32Array(size);
      dequantize({ q, s, groupSize }, actual, 0);
      const worst = actual.reduce((max, x, i) => {
        return Math.max(max, Math.abs(x - expected[i]) / s[Math.floor(i / groupSize)]);
      }, 0);
      expect(worst).toBeGreaterThan(0.4);
      expect(worst).toBeLessThan(0.5001);
    }
  });
});

it("a matrix cannot be read as what it is not", async () => {
  const v1 = new Checkpoint(await versionFile(1, SHAPES.tiny));
  const v2 = new Checkpoint(await versionFile(2, SHAPES.tiny));
  expect(() => v1.readQuantized("wq", 0, () => {})).toThrow("no int8 tensor wq");
  expect(() => v2.read("wq", 0, () => {})).toThrow("no float32 tensor wq");
});

it("epsilon and theta of the header reach the model", async () => {
  const plain = await versionFile(1, SHAPES.tiny);
  const sumWith = (normEps: number, ropeTheta: number) => {
    const path = patched(plain, (view) => {
      for (const [i, letter] of [..."eps0"].entries()) view.setUint8(64 + i, letter.charCodeAt(0));
      view.setFloat32(68, normEps, true);
      view.setFloat32(72, ropeTheta, true);
    });
    const transformer = buildTransformer(new Checkpoint(path));
    return logitsSha256(transformer, forcedTokens({ vocab_size: 300, positions: 4, sha256: "" }));
  };
  const sums = [sumWith(0, 0), sumWith(1e-6, 0), sumWith(0, 500000)];
  expect(sums[0]).toBe(sumWith(1e-5, 10000));
  expect(new Set(sums).size).toBe(3);
});
