import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loadPanels } from "../../src/backend/ts/panels.ts";
import { copyRow, matmul } from "../../src/llama2/transformer.ts";
import { loadRows } from "../../src/llama2/weights.ts";
import { loadMatrix } from "../helpers/source.ts";

/** A matrix of any shape, filled in pieces of any size, and a vector. */
const product = fc
  .record({
    d: fc.integer({ min: 1, max: 40 }),
    n: fc.integer({ min: 1, max: 40 }),
    piece: fc.integer({ min: 1, max: 97 }),
  })
  .chain(({ d, n, piece }) =>
    fc.record({
      d: fc.constant(d),
      n: fc.constant(n),
      piece: fc.constant(piece),
      // every bit pattern: denormals, infinities, negative zero
      values: fc.float32Array({ minLength: d * n, maxLength: d * n, noNaN: true }),
      x: fc.float32Array({ minLength: n, maxLength: n, noNaN: true }),
    }),
  );

describe("panels of eight rows, compared with plain rows", () => {
  it("multiply to the same bits", async () => {
    await fc.assert(
      fc.asyncProperty(product, async (p) => {
        const [fast, reference] = [new Float32Array(p.d), new Float32Array(p.d)];
        matmul(fast, p.x, await loadMatrix(loadPanels, p));
        matmul(reference, p.x, await loadMatrix(loadRows, p));
        expect(fast).toEqual(reference);
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  it("give back every row", async () => {
    await fc.assert(
      fc.asyncProperty(product, async (p) => {
        const w = await loadMatrix(loadPanels, p);
        const row = new Float32Array(p.n);
        for (let i = 0; i < p.d; i++) {
          copyRow(row, w, i);
          expect(row).toEqual(p.values.subarray(i * p.n, (i + 1) * p.n));
        }
      }),
      { seed: 2, numRuns: 200 },
    );
  });
});
