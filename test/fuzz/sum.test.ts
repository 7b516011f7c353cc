import { describe, expect, it } from "vitest";
import { type Run, sumOf } from "./sum.ts";

const run = (seed: number, inputs: number): Run => ({
  format: "gguf",
  seed,
  inputs,
  outcomes: { read: 3, E_FORMAT: inputs - 4, untyped: 1 },
  failures: [1],
  seconds: 2,
  slowest: { seed, ms: seed },
  peakBytes: 1000 - seed,
  linesCoveredPercent: 90,
});

describe("runs of the fuzzer", () => {
  it("add up", () => {
    const sum = sumOf(sumOf(undefined, run(11, 10)), run(31, 10));
    expect(sum).toEqual({
      format: "gguf",
      seeds: [
        [11, 20],
        [31, 40],
      ],
      inputs: 20,
      read: 6,
      refused: 12,
      untyped: 2,
      failures: 2,
      slowestMs: 31,
      peakBytes: 989,
      linesCoveredPercent: 90,
      inputsPerSecond: 5,
    });
    expect(sumOf(sum, run(21, 10)).seeds).toEqual([[11, 40]]);
  });

  it("are not counted twice if their seeds overlap", () => {
    const sum = sumOf(undefined, run(11, 10));
    expect(() => sumOf(sum, run(20, 5))).toThrow("seeds 20 to 24 overlap 11 to 20");
    expect(sumOf(sum, run(21, 5)).inputs).toBe(15);
  });
});
