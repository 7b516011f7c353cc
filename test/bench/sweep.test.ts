/*
 * The sweep over memory, with the native addon and without.
 */
import { describe, expect, it } from "vitest";
import { searchBandwidth, sweep } from "../../src/bench/sweep.ts";
import { Sweeps } from "../../src/bench/sweeps.ts";
import { hasAddon, needsAddon } from "../helpers/backends.ts";

describe("a sweep", () => {
  it("without the addon searches memory in as many threads, which then end", async () => {
    for (const threads of [1, 3]) expect(await searchBandwidth(1 << 20, threads, 0.01)).toBeGreaterThan(0);
  });

  it.skipIf(!hasAddon)(`with the addon reads memory${needsAddon}`, async () => {
    const { gbPerSecond, by } = await sweep({ device: "cpu", bytes: 1 << 20, threads: 1 }, 0.01);
    expect(gbPerSecond).toBeGreaterThan(0);
    expect(by).toBe("reading");
  });

  it("of a device that does not exist does not affect the others", async () => {
    const sweeps = new Sweeps();
    const cpu = { device: "cpu", bytes: 1 << 20, threads: 1 } as const;
    const missing = { device: "cuda", index: 99, bytes: 1 << 20, threads: 1 } as const;
    for (const one of [missing, cpu]) await sweeps.run(one, 0.01);
    expect(sweeps.speed(missing)).toBeUndefined();
    expect(sweeps.neededBy([{ sweep: missing }, { sweep: cpu }, { sweep: { ...cpu } }])).toEqual([cpu]);
    expect(sweeps.bandwidth()).toEqual([
      { device: "cpu", threads: 1, bytes: 1 << 20, gbPerSecond: expect.any(Number), by: expect.any(String) },
    ]);
    sweeps.end();
  });
});
