/*
 * Every format for some seconds. `npm run fuzz -- FORMAT --minutes 60` runs longer.
 */
import { describe, expect, it } from "vitest";
import { TARGETS } from "./fuzz/formats/index.ts";
import { fuzz } from "./fuzz/fuzz.ts";

describe.each(TARGETS)("$name", (target) => {
  it("with damage is refused with a typed error, or read", { timeout: 600_000 }, async () => {
    const { failures, outcomes } = await fuzz(target, { seed: 20261129, inputs: 25_000 });
    expect(failures.map(({ seed, why }) => `seed ${seed}: ${why}`)).toEqual([]);
    // both ways were taken often enough to prove something
    expect(outcomes.read).toBeGreaterThan(300);
    expect(outcomes.E_FORMAT).toBeGreaterThan(300);
  });
});
