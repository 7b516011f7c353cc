/*
 * The traced forward pass is the reference's source with stops inserted.
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { SOURCE, TRACED, trace } from "../../scripts/build-trace.mjs";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { forward } from "../../src/llama2/transformer.ts";
import { loadTransformer } from "../../src/llama2/weights.ts";
import { LINES } from "../../src/trace/forward.ts";
import { TracedModel } from "../../src/trace/model.ts";
import type { Hooks } from "../../src/trace/run.ts";
import { placesOf, STOPS } from "../../src/trace/stops.ts";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";

const source = readFileSync(SOURCE, "utf8");
const traced = readFileSync(TRACED, "utf8");

/** The lines of the function that begins with `start`, without its signature. */
function bodyOf(text: string, start: string): string[] {
  const lines = text.split("\n");
  const begin = lines.findIndex((line) => line.startsWith(start));
  const open = lines.findIndex((line, i) => i >= begin && line.endsWith("{"));
  return lines.slice(open + 1, lines.indexOf("}", begin));
}

describe("the traced forward", () => {
  it("is the script's output for the current transformer.ts", () => {
    expect(traced).toBe(trace(source));
  });

  it("differs from forward in the inserted stops only", () => {
    const lines = bodyOf(traced, "export function tracedForward(");
    const inserted = lines.filter((line) => /^ *stop\(/.test(line));
    expect(inserted.map((line) => /"(\w+)"/.exec(line)?.[1])).toEqual(STOPS.map(({ id }) => id));
    expect(lines.filter((line) => !inserted.includes(line))).toEqual(bodyOf(source, "export function forward("));
  });

  it("has the line of transformer.ts for each stop, in order of execution", () => {
    const lines = source.split("\n");
    for (const { id } of STOPS) expect(lines[LINES[id].line - 1].trim()).toBe(LINES[id].text);
    const numbers = STOPS.map(({ id }) => LINES[id].line);
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
  });

  it("is refused for a source in which an expected line is missing or found twice", () => {
    const line = "    matmul(s.q, s.xb, w.wq[l]);\n";
    expect(() => trace(source.replace(line, ""))).toThrow("0 lines");
    expect(() => trace(source.replace(line, line + line))).toThrow("2 lines");
  });
});

describe.each(["gqa", "mqa", "tiny"])("a traced run of the shape %s", (shape) => {
  const path = checkpointFile(SHAPES[shape]);
  const tokens = [1, 5, 7, 5, 200];

  it("has forward's logits, bit for bit, also when a position is traced again", async () => {
    const [plain, model] = [
      await loadTransformer(await openFile(path)),
      await TracedModel.load("model", await openFile(path), undefined),
    ];
    const run = model.run([]);
    const rows = tokens.map((token, pos) => forward(plain, token, pos).slice());
    for (const [pos, token] of tokens.entries()) {
      run.read(token);
      expect(run.logits).toEqual(rows[pos]);
    }
    for (const pos of [4, 0, 2, 1, 3]) expect(run.values(pos, { id: "logits", layer: -1 })).toEqual(rows[pos]);
    run.read(9);
    expect(run.logits).toEqual(forward(plain, 9, tokens.length));
  });

  it("has 16 stops a layer and 3 around them, whose tensors have the documented shapes", async () => {
    const model = await TracedModel.load("model", await openFile(path), undefined);
    const { stops } = model.run(tokens).at(3);
    expect(stops.map(({ id, layer }) => ({ id, layer }))).toEqual(placesOf(model.config.nLayers));
    expect(stops.length).toBe(16 * model.config.nLayers + 3);
    for (const { tensors } of stops) {
      for (const { shape, values } of tensors) expect(values.length).toBe(shape.reduce((a, b) => a * b));
    }
  });

  it("copies a stop's values, which do not change with the buffer", async () => {
    const model = await TracedModel.load("model", await openFile(path), undefined);
    const run = model.run(tokens);
    const places = ["norm1", "mix", "norm2", "down"] as const; // all of them are in xb
    const values = places.map((id) => run.values(2, { id, layer: 1 }));
    for (const [i, value] of values.entries()) expect(values.indexOf(value)).toBe(i);
    expect(new Set(values.map((value) => value.join())).size).toBe(places.length);
  });

  it("has the keys and values of a position without its pass, the same as with it, also if a hook has changed them", async () => {
    const model = await TracedModel.load("model", await openFile(path), undefined);
    const hooks: Hooks = { v: (values) => values.fill(0.5, 0, 1), rope: (values) => values.fill(0.25, 1, 2) };
    for (const run of [model.run(tokens), model.run(tokens, hooks)]) {
      const places = [
        [{ id: "rope", layer: 1 }, "k"],
        [{ id: "v", layer: 1 }, "v"],
      ] as const;
      const early = places.map(([place, tensor]) => run.values(2, place, tensor));
      run.at(2);
      expect(early).toEqual(places.map(([place, tensor]) => run.values(2, place, tensor)));
      expect(() => run.values(9, { id: "v", layer: 1 })).toThrow(/position 9/);
      expect(() => run.values(1, { id: "v", layer: 9 })).toThrow(/layer 9/);
      expect(() => run.values(1, { id: "v", layer: 1 }, "q")).toThrow(/no q/);
    }
  });
});

it("more tokens than the context holds are refused before the first is read", async () => {
  const model = await TracedModel.load("model", await openFile(checkpointFile(SHAPES.tiny)), undefined);
  let read = 0;
  const count: Hooks = { embed: () => void read++ };
  const tokens = Array(model.config.seqLen + 1).fill(1);
  expect(() => model.run(tokens, count)).toThrow(`the context holds ${model.config.seqLen}`);
  expect(read).toBe(0);
  expect(model.run(tokens.slice(1), count).tokens.length).toBe(read);
});
