import { describe, expect, it } from "vitest";
import { stopJson } from "../../src/trace/export.ts";
import { openTrace } from "../../src/trace/open.ts";
import { readTrace } from "../../src/trace/readTrace.ts";

const model = await openTrace();
const run = model.run("Once upon a time");
const { stops } = run.at(3);
const written = { model: "stories2M", backend: "cpu", tokens: run.tokens, position: 3, stops: stops.map(stopJson) };

describe("a trace that is written and read", () => {
  it("has the same stops and bits", () => {
    const read = readTrace(JSON.stringify(written), "trace.json");
    expect(read.stops).toEqual(stops);
    expect(read).toMatchObject({ backend: "cpu", tokens: run.tokens, position: 3 });
  });

  it("keeps values that are not finite, and stops that a backend fuses", () => {
    const infinite = {
      ...stops[0],
      tensors: [{ name: "x" as const, shape: [3], values: Float32Array.of(NaN, -Infinity, -0) }],
    };
    const fused = { id: "q", layer: 0, tensors: [], fused: true };
    const read = readTrace(JSON.stringify({ ...written, stops: [stopJson(infinite), fused] }), "trace.json");
    expect(Array.from(read.stops[0].tensors[0].values)).toEqual([NaN, -Infinity, -0]);
    expect(read.stops[1]).toEqual({ id: "q", layer: 0, tensors: [], fused: true });
  });

  it("is refused if it is not a valid trace", () => {
    const [first] = written.stops;
    const [tensor] = first.tensors;
    for (const [change, why] of [
      [{ stops: undefined }, "no tokens or no stops"],
      [{ model: { toString: 1 } }, "no model"],
      [{ backend: undefined }, "no backend"],
      [{ tokens: ["a"] }, "not whole numbers"],
      [{ stops: [{ ...first, layer: 0.5 }] }, "a stop of it"],
      [{ stops: [{ ...first, tensors: [{ ...tensor, shape: [1, { valueOf: 1, toString: 1 }] }] }] }, "a stop of it"],
      [{ stops: [{ ...first, tensors: [{ ...tensor, values: tensor.values.map(() => ({})) }] }] }, "a stop of it"],
      [{ stops: [{ ...first, tensors: [{ ...tensor, values: tensor.values.map(() => null) }] }] }, "a stop of it"],
      [{ position: 99 }, "its position"],
      [{ stops: [{}] }, "a stop of it"],
      [{ stops: [null] }, "a stop of it"],
      [{ stops: [{ ...first, tensors: [{ ...tensor, shape: [5] }] }] }, "a stop of it"],
      [{ stops: [{ ...first, tensors: [{ ...tensor, name: "q" }] }] }, "a stop of it"],
    ] as const) {
      expect(() => readTrace(JSON.stringify({ ...written, ...change }), "t.json"), why).toThrow(why);
    }
    for (const text of ["", "null", "7", "[]", "{"])
      expect(() => readTrace(text, "t.json")).toThrow(/t\.json is not a trace/);
  });
});
