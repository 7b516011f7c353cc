/*
 * Traces as `llama2 trace --json` writes them, which the study page compares with its own.
 */
import { diff } from "../../../src/trace/diff.ts";
import { stopJson } from "../../../src/trace/export.ts";
import { readTrace } from "../../../src/trace/readTrace.ts";
import type { Stop } from "../../../src/trace/run.ts";
import { damaged } from "../bytes.ts";
import type { Target } from "../fuzz.ts";
import { changedTree, jsonBytes, treeOf } from "../json.ts";

const values = (...numbers: number[]) => Float32Array.of(...numbers);
const stops: Stop[] = [
  { id: "embed", layer: -1, tensors: [{ name: "x", shape: [4], values: values(1, -0, NaN, Infinity) }] },
  { id: "q", layer: 0, tensors: [{ name: "q", shape: [2, 2], values: values(1, 2, 3, 1e-45) }] },
  { id: "k", layer: 0, tensors: [], fused: true },
];
const good = treeOf({ model: "m", backend: "cpu", tokens: [1, 7, 9], position: 1, stops: stops.map(stopJson) });

export const traceJson: Target = {
  name: "trace-json",
  files: ["trace/readTrace"],
  make: (dice) => ({ "trace.json": damaged(jsonBytes(changedTree(good, dice)), dice, 0.1) }),
  async read({ "trace.json": bytes }) {
    const trace = readTrace(new TextDecoder().decode(bytes), "trace.json");
    if (typeof trace.model !== "string" || !(trace.position in trace.tokens)) throw new Error("not as its type says");
    for (const { layer, tensors } of trace.stops) {
      if (!Number.isInteger(layer)) throw new Error(`a layer is ${layer}`);
      for (const { shape, values } of tensors) {
        if (shape.some((size) => !Number.isInteger(size) || size < 0)) throw new Error(`a shape is ${shape}`);
        if (shape.reduce((a, b) => a * b, 1) !== values.length) throw new Error("a shape of another size");
      }
    }
    diff(stops, trace.stops, 0);
  },
};
