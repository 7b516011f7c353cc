import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { matrixBytes, rowBytes, weightBytes } from "../../src/backend/wasm/panels.ts";
import { ROOT } from "../helpers/golden.ts";
import { seededRandom } from "../helpers/random.ts";

type Size = (...dimensions: number[]) => number;

/** The functions of the kernels that say how large things are. */
function kernels(): Record<"rowBytes" | "matrixBytes" | "weightBytes", Size> {
  const module = new WebAssembly.Module(readFileSync(join(ROOT, "dist/backend/wasm/kernels.wasm")));
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: false });
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  return exports as ReturnType<typeof kernels>;
}

describe("TypeScript and the kernels agree on the sizes of", () => {
  const random = seededRandom(5);
  const dimension = (most: number) => 1 + Math.floor(random() * most);

  it("a row", () => {
    const { rowBytes: expected } = kernels();
    for (let n = 1; n < 100; n++) expect(rowBytes(n), `${n} numbers`).toBe(expected(n));
  });

  it("a float32 matrix", () => {
    const { matrixBytes: matrix, weightBytes: weights } = kernels();
    for (let i = 0; i < 200; i++) {
      const [d, n] = [dimension(100), dimension(2000)];
      expect(matrixBytes(d, n), `${d} rows, ${n} columns`).toBe(matrix(d, n));
      expect(weightBytes(d, n, 0), `${d} rows, ${n} columns`).toBe(weights(d, n, 0));
    }
  });

  it("an int8 matrix, in groups that divide its rows and in groups that straddle them", () => {
    const { weightBytes: expected } = kernels();
    for (let i = 0; i < 200; i++) {
      const groupSize = dimension(64);
      const [d, n] = [groupSize * dimension(20), i % 2 === 0 ? dimension(300) : groupSize * dimension(8)];
      const what = `${d} rows, ${n} columns, groups of ${groupSize}`;
      expect(weightBytes(d, n, groupSize), what).toBe(expected(d, n, groupSize));
    }
  });
});
