import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { f32 } from "../../src/llama2/math.ts";
import {
  buildSampler,
  randomF32,
  randomU32,
  sample,
  sampleArgmax,
  sampleMult,
  sampleTopp,
} from "../../src/llama2/sampler.ts";

const floats = (...values: number[]) => Float32Array.from(values);
const topp = (probabilities: Float32Array, p: number, coin: number) =>
  sampleTopp(probabilities, probabilities.length, f32(p), new Uint32Array(probabilities.length), f32(coin));

describe("argmax", () => {
  it("takes the lowest index on a tie", () => {
    expect(sampleArgmax(floats(1, 3, 3, 2), 4)).toBe(1);
  });
});

describe("the generator", () => {
  it("is xorshift* on 64 bits", () => {
    // by hand: 1 -> ^>>12: 1 -> ^<<25: 0x2000001 -> ^>>27: 0x2000001, times 0x2545f4914f6cdd1d, upper half
    const sampler = buildSampler(1, 1, 1, 1n);
    expect(randomU32(sampler)).toBe(
      Number((BigInt.asUintN(64, 0x2000001n * 0x2545f4914f6cdd1dn) >> 32n) & 0xffffffffn),
    );
    expect(sampler.rngState).toBe(0x2000001n);
  });

  it("keeps 64 bits of the seed, and wraps negative seeds as C does", () => {
    expect(buildSampler(1, 1, 1, -1n).rngState).toBe(2n ** 64n - 1n);
    const [low, high] = [buildSampler(1, 1, 1, 5n), buildSampler(1, 1, 1, 5n + 2n ** 32n)];
    expect(randomU32(low)).not.toBe(randomU32(high));
  });

  it("makes float32 numbers in [0, 1)", () => {
    const sampler = buildSampler(1, 1, 1, 42n);
    const numbers = Array.from({ length: 10_000 }, () => randomF32(sampler));
    expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...numbers)).toBeLessThan(1);
    expect(numbers.every((x) => f32(x) === x)).toBe(true);
    expect(numbers.reduce((a, b) => a + b) / numbers.length).toBeCloseTo(0.5, 1);
  });
});

describe("sampling from probabilities", () => {
  it.each([
    [0, 0],
    [0.24, 0],
    [0.25, 1],
    [0.74, 1],
    [0.75, 2],
  ])("a coin of %f falls on token %i", (coin, token) => {
    expect(sampleMult(floats(0.25, 0.5, 0.25), 3, coin)).toBe(token);
  });

  it("takes the last token when rounding leaves the sum below the coin", () => {
    expect(sampleMult(floats(0.25, 0.25), 2, 0.9)).toBe(1);
  });
});

describe("top-p", () => {
  it("draws from the smallest set that exceeds p, most probable first", () => {
    const probabilities = floats(0.1, 0.5, 0.15, 0.25);
    // the nucleus at 0.7 is {1: 0.5, 3: 0.25}; coins are scaled to its 0.75
    expect([0, 0.66, 0.67, 0.99].map((coin) => topp(probabilities, 0.7, coin))).toEqual([1, 1, 3, 3]);
  });

  it("orders equal probabilities by token", () => {
    const equal = floats(0.25, 0.25, 0.25, 0.25);
    expect([0, 0.4, 0.7].map((coin) => topp(equal, 0.7, coin))).toEqual([0, 1, 2]);
  });

  it("yields a valid token when no probability reaches the cutoff", () => {
    const flat = new Float32Array(512).fill(1 / 512);
    flat[7] = f32(1 / 512 + 1e-6);
    expect(topp(flat, 0.001, 0.5)).toBe(7);
  });
});

describe("temperature", () => {
  const logits = () => floats(1, 4, 2, 4);
  const draw = (temperature: number, p: number, from = logits()) => {
    const sampler = buildSampler(from.length, temperature, p, 1n);
    return { token: sample(sampler, from), coins: sampler.rngState === 1n ? 0 : 1 };
  };

  it("0 is greedy and draws no coin", () => {
    expect(draw(0, 0.9)).toEqual({ token: 1, coins: 0 });
  });

  it("below the smallest normal float it is greedy, and draws its coin", () => {
    expect(draw(1e-40, 0.9)).toEqual({ token: 1, coins: 1 });
  });

  it("so small that logits overflow, it is greedy", () => {
    expect(draw(2e-38, 0.9, floats(1, 40, -90, 39))).toEqual({ token: 1, coins: 1 });
    expect(draw(2e-38, 0.9, floats(-40, -90, -39))).toEqual({ token: 2, coins: 1 });
  });

  it("any setting gives a valid token", () => {
    const setting = fc.record({
      logits: fc.float32Array({ minLength: 3, maxLength: 600, noNaN: true, noDefaultInfinity: true }),
      temperature: fc.oneof(fc.float({ min: 0, noNaN: true, noDefaultInfinity: true }), fc.constant(1e9)),
      p: fc.float({ min: 0, max: 1, noNaN: true }),
      seed: fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }),
    });
    fc.assert(
      fc.property(setting, ({ logits, temperature, p, seed }) => {
        const token = sample(buildSampler(logits.length, temperature, p, seed), logits.slice());
        return Number.isInteger(token) && token >= 0 && token < logits.length;
      }),
      { seed: 1, numRuns: 2000 },
    );
  });
});
