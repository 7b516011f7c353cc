import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loadInt8Panels } from "../../src/backend/ts/int8Panels.ts";
import { copyRow, matmul } from "../../src/llama2/transformer.ts";
import { loadRows } from "../../src/llama2/weights.ts";
import { loadQuantized, type QuantizedNumbers } from "../helpers/source.ts";

const divisors = (n: number) => Array.from({ length: n }, (_, i) => i + 1).filter((i) => n % i === 0);

/** int8 matrices of any shape, in groups of any size that divides d * n, and vectors for them. */
function products(columns: fc.Arbitrary<number>): fc.Arbitrary<QuantizedNumbers & { x: Float32Array }> {
  return fc
    .record({ d: fc.integer({ min: 1, max: 40 }), n: columns })
    .chain(({ d, n }) =>
      fc.record({
        d: fc.constant(d),
        n: fc.constant(n),
        groupSize: fc.constantFrom(...divisors(d * n)),
        piece: fc.integer({ min: 1, max: 9 }),
        seed: fc.nat(),
        // every bit pattern: denormals, infinities, negative zero, NaN
        x: fc.float32Array({ minLength: n, maxLength: n }),
      }),
    )
    .map(({ seed, ...p }) => {
      const random = bytes(seed);
      const q = Int8Array.from({ length: p.d * p.n }, random);
      const s = Float32Array.from({ length: q.length / p.groupSize }, () => random() / 100);
      return { ...p, q, s };
    });
}

/** Numbers from -128 to 127. */
function bytes(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state >> 24;
  };
}

async function expectSameProduct(p: QuantizedNumbers, x: Float32Array): Promise<void> {
  const [fast, reference] = [new Float32Array(p.d), new Float32Array(p.d)];
  matmul(fast, x, await loadQuantized(loadInt8Panels, p));
  matmul(reference, x, await loadQuantized(loadRows, p));
  expect(fast).toEqual(reference);
}

describe("panels of sixteen int8 rows, compared with plain int8 rows", async () => {
  it("multiply to the same bits, also where groups straddle rows", async () => {
    const small = products(fc.integer({ min: 1, max: 70 }));
    await fc.assert(
      fc.asyncProperty(small, (p) => expectSameProduct(p, p.x)),
      { seed: 1, numRuns: 500 },
    );
  });

  it("multiply to the same bits in groups of many hundred columns", async () => {
    const long = products(fc.constantFrom(256, 257, 512, 768, 1000));
    await fc.assert(
      fc.asyncProperty(long, (p) => expectSameProduct(p, p.x)),
      { seed: 2, numRuns: 100 },
    );
  });

  it.each([-128, 127])("keep the largest sums of neighbouring rows apart: all weights %d", async (weight) => {
    const [d, n] = [16, 4096];
    for (const sign of [1, -1]) {
      const p = { d, n, groupSize: n, piece: 1, q: new Int8Array(d * n).fill(weight), s: new Float32Array(d).fill(1) };
      await expectSameProduct(p, new Float32Array(n).fill(sign));
      // every other row the other way round
      await expectSameProduct(
        { ...p, q: p.q.map((q, i) => (Math.floor(i / n) % 2 === 0 ? q : ~q)) },
        new Float32Array(n).fill(sign),
      );
    }
  });

  it("give back every row", async () => {
    await fc.assert(
      fc.asyncProperty(products(fc.integer({ min: 1, max: 70 })), async (p) => {
        const [fast, reference] = [await loadQuantized(loadInt8Panels, p), await loadQuantized(loadRows, p)];
        const [row, expected] = [new Float32Array(p.n), new Float32Array(p.n)];
        for (let i = 0; i < p.d; i++) {
          copyRow(row, fast, i);
          copyRow(expected, reference, i);
          expect(row).toEqual(expected);
        }
      }),
      { seed: 3, numRuns: 200 },
    );
  });
});
