import { describe, expect, it } from "vitest";
import type { Checkpoint } from "../../src/checkpoint/llama2c/checkpoint.ts";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { dequantize } from "../../src/llama2/quantize.ts";
import {
  floatPieces,
  int8Pieces,
  isVector,
  loadTransformer,
  shapesOf,
  type TensorName,
} from "../../src/llama2/weights.ts";
import { SHAPES, type Shape } from "../helpers/checkpoint.ts";
import { forcedTokens, logitsSha256, sha256 } from "../helpers/golden.ts";
import { patched, VERSIONS, versionFile } from "../helpers/versions.ts";

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

async function float32(checkpoint: Checkpoint, name: TensorName, layer: number, size: number): Promise<Float32Array> {
  const all = new Float32Array(size);
  let next = 0;
  for await (const { values, offset } of floatPieces(checkpoint, name, layer)) {
    expect(offset).toBe(next);
    next += values.length;
    all.set(values, offset);
  }
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
    ([0, 1, 2] as const).map(async (version) => await openFile(await versionFile(version, shape, options))),
  );

  it("has the same shape in every version", () => {
    for (const { config, sharedClassifier } of [v1, v2]) {
      expect(config).toEqual(v0.config);
      expect(sharedClassifier).toBe(tied === "tied");
    }
    expect([v0, v1, v2].map((checkpoint) => checkpoint.header.groupSize)).toEqual([0, 0, groupSize]);
  });

  it("has the same numbers in version 1", async () => {
    for (const { name, layer, size } of tensorsOf(v0)) {
      expect(sum(await float32(v1, name, layer, size))).toBe(sum(await float32(v0, name, layer, size)));
    }
  });

  it("has the same vectors in version 2, and matrices that differ by at most half a scale", async () => {
    for (const { name, layer, size } of tensorsOf(v0)) {
      const expected = await float32(v0, name, layer, size);
      if (isVector(name)) {
        expect(sum(await float32(v2, name, layer, size))).toBe(sum(expected));
        continue;
      }
      const q = new Int8Array(size);
      const s = new Float32Array(size / groupSize);
      for await (const piece of int8Pieces(v2, name, layer)) {
        expect(piece.q.length).toBe(piece.scales.length * groupSize);
        q.set(piece.q, piece.offset);
        s.set(piece.scales, piece.offset / groupSize);
      }
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

it("all pieces but the last have a multiple of the requested unit of numbers", async () => {
  const options = { groupSize };
  for (const version of VERSIONS) {
    const checkpoint = await openFile(await versionFile(version, LARGE, options));
    for (const multipleOf of [1, 7, 64, 16 * 96, 2 ** 17 + 2]) {
      let next = 0;
      for await (const piece of checkpoint.pieces("tokenEmbeddingTable", 0, multipleOf)) {
        expect(next % multipleOf).toBe(0);
        expect(piece.offset).toBe(next);
        next += "values" in piece ? piece.values.length : piece.q.length;
      }
      expect(next).toBe(23000 * 96);
    }
    checkpoint.close();
  }
});

it("tensors can be read concurrently", async () => {
  const checkpoint = await openFile(await versionFile(1, LARGE));
  const alone = sum(await float32(checkpoint, "tokenEmbeddingTable", 0, 23000 * 96));
  const both = [0, 1].map(() => float32(checkpoint, "tokenEmbeddingTable", 0, 23000 * 96));
  expect((await Promise.all(both)).map(sum)).toEqual([alone, alone]);
  checkpoint.close();
});

it("a matrix cannot be read in a type that it does not have", async () => {
  const v1 = await openFile(await versionFile(1, SHAPES.tiny));
  const v2 = await openFile(await versionFile(2, SHAPES.tiny));
  await expect(int8Pieces(v1, "wq", 0).next()).rejects.toThrow("wq is float32, expected int8");
  await expect(floatPieces(v2, "wq", 0).next()).rejects.toThrow("wq is int8, expected float32");
});

it("epsilon and theta of the header reach the model", async () => {
  const plain = await versionFile(1, SHAPES.tiny);
  const sumWith = async (normEps: number, ropeTheta: number) => {
    const path = patched(plain, (view) => {
      for (const [i, letter] of [..."eps0"].entries()) view.setUint8(64 + i, letter.charCodeAt(0));
      view.setFloat32(68, normEps, true);
      view.setFloat32(72, ropeTheta, true);
    });
    const transformer = await loadTransformer(await openFile(path));
    return logitsSha256(transformer, forcedTokens({ vocab_size: 300, positions: 4, sha256: "" }));
  };
  const sums = [await sumWith(0, 0), await sumWith(1e-6, 0), await sumWith(0, 500000)];
  expect(sums[0]).toBe(await sumWith(1e-5, 10000));
  expect(new Set(sums).size).toBe(3);
});
