import { describe, expect, it } from "vitest";
import { judge } from "../../bench/judge.mjs";

const MODEL = { name: "15M", bytes: 60e6, int8Bytes: 17e6, ofPosition: 0 };
const FIGURE = {
  row: "cpu",
  what: "cpu",
  group: "decode",
  model: "15M",
  threads: 1,
  ours: "cpu 1",
  against: "runfast 1",
};
const engine = (values: number[], output = "Once") => ({ values, outputs: new Set([output]) });

describe("a figure of the benchmarks", () => {
  const samples = { "cpu 1": engine([300, 150, 330]), "runfast 1": engine([200, 100, 300]) };

  it("is the median of each round's ratio", () => {
    expect(judge(FIGURE, samples, MODEL, 256).ratio).toEqual({ median: 1.5, min: 1.1, max: 1.5 });
  });

  it("is met from its target on", () => {
    expect(judge({ ...FIGURE, target: { atLeast: 1.5 } }, samples, MODEL, 256).met).toBe(true);
    expect(judge({ ...FIGURE, target: { atLeast: 1.51 } }, samples, MODEL, 256).met).toBe(false);
  });

  it("is also met if the memory's speed allows no more", () => {
    const figure = { ...FIGURE, sweep: "sweep 1", target: { atLeast: 9, ofSweep: 0.9 } };
    const sweep = (gb: number) => ({ ...samples, "sweep 1": engine([gb, gb / 2, gb * 1.1], undefined) });
    expect(judge(figure, sweep(19), MODEL, 256).met).toBe(true); // 18 GB/s are read
    expect(judge(figure, sweep(21), MODEL, 256).met).toBe(false);
  });

  it("does not count if the two programs generated different stories", () => {
    const others = { ...samples, "runfast 1": engine([200, 100, 300], "Twice") };
    const { counts, met } = judge({ ...FIGURE, target: { atLeast: 1 } }, others, MODEL, 256);
    expect({ counts, met }).toEqual({ counts: false, met: null });
  });

  it("of two threads counts only if runomp gained from the second", () => {
    const figure = { ...FIGURE, threads: 2 };
    const withRunomp = (two: number) => ({
      ...samples,
      "runomp 1": engine([100, 100, 100]),
      "runomp 2": engine([two, two, two]),
    });
    expect(judge(figure, withRunomp(140), MODEL, 256).counts).toBe(true);
    expect(judge(figure, withRunomp(139), MODEL, 256).counts).toBe(false);
    expect(judge(figure, samples, MODEL, 256).counts).toBe(false);
  });

  it("of a load excludes Node's own start", () => {
    const figure = { ...FIGURE, group: "load", ours: "load cpu", against: "load run", target: { atMost: 4 } };
    const load = {
      "load cpu": engine([200, 200, 200]),
      "load run": engine([30, 30, 30]),
      "load node": engine([80, 80, 80]),
    };
    expect(judge(figure, load, MODEL, undefined)).toMatchObject({ ratio: { median: 4 }, met: true });
  });
});
