import { describe, expect, it } from "vitest";
import { PassCosts, steadied } from "../../src/run/passCosts.ts";

/** As often as it takes to be believed. */
const believed = (costs: PassCosts, rows: number, ms: number) => {
  for (let i = 0; i < 3; i++) costs.note(rows, ms);
};

describe("what a pass costs", () => {
  it("is the measured cost, interpolated between measured widths", () => {
    const costs = new PassCosts();
    believed(costs, 2, 10);
    believed(costs, 4, 14);
    expect(costs.of(2)).toBeCloseTo(10, 1);
    expect(costs.of(3)).toBeCloseTo(12, 1);
    expect(costs.of(4)).toBeCloseTo(14, 1);
  });

  it("is assumed to grow slowly beyond the widest measured pass, so that wider ones are tried", () => {
    const costs = new PassCosts();
    believed(costs, 1, 10);
    expect(costs.of(2)).toBeGreaterThan(10);
    expect(costs.of(2)).toBeLessThan(12);
  });

  it("is assumed to fall while it is not measured, so that the width is tried again, and is finally dropped", () => {
    const costs = new PassCosts();
    believed(costs, 4, 40);
    for (let i = 0; i < 200; i++) costs.note(1, 10);
    expect(costs.of(4)).toBeLessThan(39);
    expect(costs.of(4)).toBeGreaterThan(30);
    for (let i = 0; i < 3000; i++) costs.note(1, 10);
    expect(costs.of(4)).toBeLessThan(15);
    believed(costs, 4, 30);
    expect(costs.of(4)).toBeGreaterThan(29);
  });

  it("is known after three passes, as that of the fastest", () => {
    const costs = new PassCosts();
    believed(costs, 1, 10);
    costs.note(2, 1000);
    costs.note(2, 11);
    expect(costs.of(2)).toBeLessThan(13); // what it was thought to be
    costs.note(2, 500);
    expect(costs.of(2)).toBe(11);
  });

  it("changes little after a pass that was delayed by other load", () => {
    const costs = new PassCosts();
    for (let i = 0; i < 20; i++) costs.note(1, 10);
    costs.note(1, 1000);
    expect(costs.of(1)).toBeLessThan(12);
    for (let i = 0; i < 20; i++) costs.note(1, 10);
    expect(costs.of(1)).toBeCloseTo(10, 1);
  });

  it("follows a lasting change in the speed of passes", () => {
    let known = 10;
    for (let i = 0; i < 60; i++) known = steadied(known, 30);
    expect(known).toBeCloseTo(30, 0);
    for (let i = 0; i < 10; i++) known = steadied(known, 5);
    expect(known).toBeCloseTo(5, 0);
  });

  it("is unknown before the first pass", () => {
    expect(new PassCosts().of(1)).toBe(0);
  });
});

describe("the largest width of a pass", () => {
  it("is twice the widest measured, and at least one token more than must be read", () => {
    const costs = new PassCosts();
    believed(costs, 1, 10);
    expect(costs.widestToTry(1)).toBe(2);
    believed(costs, 2, 11);
    expect(costs.widestToTry(1)).toBe(4);
    expect(costs.widestToTry(6)).toBe(7);
  });
});
