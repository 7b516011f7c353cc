/*
 * Traces as JSON and .npz, and two traces side by side.
 */
import { unzipSync } from "fflate";
import { describe, expect, it } from "vitest";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { diff } from "../../src/trace/diff.ts";
import { hookNames, npz, stopJson } from "../../src/trace/export.ts";
import { TracedModel } from "../../src/trace/model.ts";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";

const model = await TracedModel.load("model", await openFile(checkpointFile(SHAPES.gqa)), undefined);
const run = model.run([1, 5, 7]);
const { stops } = run.at(2);
const find = (id: string, layer: number) => stops.filter((stop) => stop.id === id && stop.layer === layer)[0];

/** The shape and the numbers of a .npy file. */
function readNpy(bytes: Uint8Array) {
  const text = String.fromCharCode(...bytes.subarray(0, 10 + bytes[8]));
  expect(text.slice(1, 6)).toBe("NUMPY");
  expect((10 + bytes[8]) % 64).toBe(0);
  expect(text).toMatch(/'descr': '<f4', 'fortran_order': False/);
  const shape = /'shape': \(([\d, ]*)\)/
    .exec(text)?.[1]
    .split(",")
    .filter((word) => word.trim() !== "")
    .map(Number);
  return { shape, values: new Float32Array(bytes.slice(10 + bytes[8]).buffer) };
}

describe(".npz", () => {
  const files = unzipSync(npz(stops, 8));

  it("has an array for each tensor, under TransformerLens' names", () => {
    const names = stops.flatMap(hookNames);
    expect(Object.keys(files)).toEqual(names.map((name) => `${name}.npy`));
    expect(names.length).toBe(16 * 3 + 3 + 3); // rope has two
    expect(names).toContain("blocks.1.attn.hook_rot_k");
    expect(names).toContain("ln_final.hook_normalized");
  });

  it("contains the run's values, with an axis for heads", () => {
    expect(readNpy(files["blocks.1.attn.hook_q.npy"])).toEqual({
      shape: [6, 8],
      values: find("q", 1).tensors[0].values,
    });
    const pattern = { shape: [6, 3], values: find("probs", 2).tensors[0].values };
    expect(readNpy(files["blocks.2.attn.hook_pattern.npy"])).toEqual(pattern);
    expect(readNpy(files["blocks.2.attn.hook_rot_k.npy"])).toEqual({
      shape: [2, 8],
      values: find("rope", 2).tensors[1].values,
    });
    expect(readNpy(files["logits.npy"])).toEqual({ shape: [512], values: run.logits });
  });

  it("has the same bytes for the same trace", () => {
    expect(npz(stops, 8)).toEqual(npz(run.at(2).stops, 8));
  });
});

it("JSON has the line that ran, run.c's line, and values that are read again bit for bit", () => {
  const { id, layer, source, runc, tensors } = JSON.parse(JSON.stringify(stopJson(find("proj", 1))));
  expect({ id, layer, runc }).toEqual({ id: "proj", layer: 1, runc: 322 });
  expect(source).toMatchObject({ file: "src/llama2/transformer.ts", text: "matmul(s.xb2, s.xb, w.wo[l]);" });
  expect(tensors[0]).toMatchObject({ name: "xb2", shape: [48] });
  expect(Float32Array.from(tensors[0].values)).toEqual(find("proj", 1).tensors[0].values);
  const broken = {
    ...find("embed", -1),
    tensors: [{ name: "x" as const, shape: [2], values: Float32Array.of(NaN, -Infinity) }],
  };
  expect(stopJson(broken)).toMatchObject({ tensors: [{ values: ["NaN", "-Infinity"] }] });
  expect(stopJson(broken)).not.toHaveProperty("layer");
});

describe("the difference of two traces", () => {
  const changed = (id: string, layer: number, change: (values: Float32Array) => void) =>
    stops.map((stop) => {
      const tensors = stop.tensors.map((tensor) => ({ ...tensor, values: tensor.values.slice() }));
      if (stop.id === id && stop.layer === layer) change(tensors[0].values);
      return { ...stop, tensors };
    });

  it("is empty for the same bits", () => {
    const { firstDivergent, stops: apart } = diff(stops, run.at(2).stops, 0);
    expect(firstDivergent).toBeUndefined();
    expect(apart.length).toBe(stops.length);
  });

  it("names the first stop that differs by a single bit, and by how many float32 numbers", () => {
    const other = changed("gate", 1, (values) => {
      new Int32Array(values.buffer)[7] += 3;
    });
    const { firstDivergent, stops: apart } = diff(stops, other, 0);
    expect(firstDivergent).toBe("L1.gate");
    expect(apart.filter(({ maxUlp }) => maxUlp > 0)).toMatchObject([{ id: "gate", layer: 1, maxUlp: 3 }]);
  });

  it("distinguishes -0 from 0", () => {
    const [zero, minus] = [0, -0].map((value) => changed("v", 0, (values) => values.fill(value)));
    expect(diff(zero, minus, 0)).toMatchObject({ firstDivergent: "L0.v" });
    expect(diff(zero, minus, 1e-6).firstDivergent).toBeUndefined();
  });

  it("is relative to the largest value of a stop, and NaN exceeds any tolerance", () => {
    const largest = Math.max(...find("gate", 1).tensors[0].values.map(Math.abs));
    const other = changed("gate", 1, (values) => {
      values[3] += 1e-4 * largest;
    });
    expect(diff(stops, other, 1e-3).firstDivergent).toBeUndefined();
    expect(diff(stops, other, 1e-5).firstDivergent).toBe("L1.gate");
    const broken = changed("up", 0, (values) => values.fill(NaN));
    expect(diff(stops, broken, 1e9).firstDivergent).toBe("L0.up");
  });

  it("skips tensors that one of them does not have", () => {
    const fused = stops.map((stop) =>
      stop.id === "rope" ? { ...stop, tensors: [stop.tensors[1]] } : { ...stop, tensors: [], fused: true as const },
    );
    expect(diff(stops, fused, 0).stops.map(({ id }) => id)).toEqual(["rope", "rope", "rope"]);
  });
});
