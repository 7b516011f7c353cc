/*
 * JSON that this package's commands write and read again: traces, receipts, measurements.
 */
import { compare, parseResult } from "../../../src/bench/compare.ts";
import { receiptsIn } from "../../../src/receipt.ts";
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

const hash = "0123456789abcdef".repeat(4);
const receipt = treeOf({
  text: "Once",
  receipt: {
    ...{ receipt: 1, model: hash, tokenizer: hash, precision: "fp32", context: 16, promptTokens: [1, 5], seed: "42" },
    ...{ temperature: 1, topP: 0.9, topK: 3, maxTokens: 4, stops: [1, 2], tokens: [1, 5, 7], tokensSha256: hash },
    ...{ logitsSha256: hash, logitsRows: [hash.slice(0, 16)] },
  },
});

export const receiptJson: Target = {
  name: "receipt-json",
  files: ["receipt"],
  make: (dice) => ({ "receipt.json": damaged(jsonBytes(changedTree(receipt, dice)), dice, 0.02) }),
  async read({ "receipt.json": bytes }) {
    let value: unknown;
    try {
      value = JSON.parse(new TextDecoder().decode(bytes));
    } catch {
      return; // the command says so
    }
    for (const { tokens, seed } of receiptsIn(value)) {
      if (BigInt(seed) <= 0n || !tokens.every((token) => token >= 0)) throw new Error("not as its type says");
    }
  },
};

const speed = { median: 2, min: 1, max: 3, runs: [1, 2, 3] };
const row = {
  model: "m",
  backend: "cpu",
  precision: "fp32",
  threads: 2,
  batch: 1,
  test: "tg4",
  tokensPerSecond: speed,
};
const result = treeOf({ bench: 1, machine: { cpu: "a", cores: 2 }, rows: [row, { ...row, batch: 4 }] });
const other = parseResult(jsonBytes(result), "other.json");

export const benchJson: Target = {
  name: "bench-json",
  files: ["bench/compare"],
  make: (dice) => ({ "bench.json": damaged(jsonBytes(changedTree(result, dice)), dice, 0.1) }),
  async read({ "bench.json": bytes }) {
    const { changes, warnings } = compare(parseResult(bytes, "bench.json"), other);
    if (!changes.every(({ percent }) => Number.isFinite(percent))) throw new Error("a change is no number");
    JSON.stringify(warnings);
  },
};
