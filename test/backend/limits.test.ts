import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { load } from "../../src/backend/load.ts";
import { availableMemory } from "../../src/backend/memory.ts";
import type { BackendName } from "../../src/backend/names.ts";
import { openFile } from "../../src/checkpoint/openFile.ts";
import type { Config } from "../../src/llama2/transformer.ts";
import type { WeightSource } from "../../src/llama2/weights.ts";
import { hasAddon, needsAddon } from "../helpers/backends.ts";
import { SHAPES } from "../helpers/checkpoint.ts";
import { rejected } from "../helpers/errors.ts";
import { paper } from "../helpers/sources.ts";
import { patched, versionFile } from "../helpers/versions.ts";

const refused = (source: WeightSource, context = 0, backend: BackendName = "ts") =>
  rejected("E_LIMIT", load(source, backend, context, 1));
const refusal = async (source: WeightSource, context = 0, backend: BackendName = "ts") =>
  (await refused(source, context, backend)).message;

it.skipIf(process.platform !== "linux")("the memory that counts is what Linux calls available", () => {
  const memAvailable = () => 1024 * Number(/MemAvailable: +(\d+)/.exec(readFileSync("/proc/meminfo", "utf8"))?.[1]);
  const limit = process.constrainedMemory() || Infinity;
  const before = memAvailable();
  const found = availableMemory();
  const after = memAvailable();
  const slack = 32 << 20; // other processes come and go
  expect(found).toBeGreaterThanOrEqual(Math.min(before, after, limit) - slack);
  expect(found).toBeLessThanOrEqual(Math.min(Math.max(before, after), limit) + slack);
});

describe.skipIf(!hasAddon)(
  `a model that the cpu backend cannot hold is refused before anything is read${needsAddon}`,
  () => {
    it("by the bytes of the weights, which are fewer in int8", async () => {
      const nLayers = 4000;
      const gb = async (groupSize: number) => {
        return Number(/weights need ([\d.]+) GB/.exec(await refusal(paper({ nLayers }, groupSize), 16, "cpu"))?.[1]);
      };
      const numbers = nLayers * (4 * 4096 * 4096 + 3 * 4096 * 11008) + 2 * 32000 * 4096;
      const norms = (2 * nLayers + 1) * 4096;
      expect((await refused(paper({ nLayers }), 16, "cpu")).remedy).toBeUndefined(); // no context is short enough
      expect(await gb(0)).toBeCloseTo((4 * (numbers + norms)) / 1e9, 0);
      expect(await gb(64)).toBeCloseTo(((1 + 4 / 64) * numbers + 4 * norms) / 1e9, 0);
    });

    it("by the bytes that panels take: of rows, of quads of columns, and of the numbers of a head", async () => {
      const gb = async (config: Partial<Config>, groupSize = 0) => {
        const message = await refusal(paper({ nLayers: 4000, vocabSize: 16, ...config }, groupSize), 16, "cpu");
        return Number(/weights need ([\d.]+) GB/.exec(message)?.[1]);
      };
      const attention = 4000 * 4 * 4096 * 4096;
      // a hidden dimension of one: w1 and w3 are a row each, which takes the room of sixteen
      const w = (rows: number) => 4000 * (2 * rows + 1) * 4096;
      expect(await gb({ hiddenDim: 1 })).toBeCloseTo((4 * (attention + w(16) + 2 * 4000 * 4096)) / 1e9, 0);
      // groups of one number: each has a quad and a scale to itself
      const numbers = attention + 4000 * 3 * 4096 * 11008;
      expect(await gb({}, 1)).toBeCloseTo((8 * numbers + 4 * 2 * 4000 * 4096) / 1e9, 0);
      // heads of two numbers: the values of a position take the room of sixteen
      const context = /context of 16777216 positions ([\d.]+) GB.*A context of 2048 needs less$/;
      const narrow = paper({ nLayers: 1, nHeads: 128, nKvHeads: 128, dim: 256, seqLen: 2 ** 24 });
      const message = await refusal(narrow, 0, "cpu");
      expect(Number(context.exec(message)?.[1])).toBeCloseTo((4 * 2 ** 24 * 128 * (2 + 16 + 1)) / 1e9, 0);
    });
  },
);

describe("a model that no machine can hold is refused before anything is read", () => {
  it("by the context; a shorter one works", async () => {
    const { message, remedy } = await refused(paper({ nLayers: 1, seqLen: 2 ** 24, vocabSize: 2 }));
    expect(message).toMatch(/at 2048, say$/);
    expect(remedy).toEqual({ option: "context", value: 2048 });
  });

  it("by a context with more positions than float32 can count", async () => {
    const { message, remedy } = await refused(paper({ seqLen: 2 ** 30 }));
    expect(message).toMatch(/1073741824 positions/);
    expect(remedy).toEqual({ option: "context", value: 4096 });
  });

  // their files do not grow with the context
  it.each([1, 2] as const)("in a file of version %d, which runs with a shorter context", async (version) => {
    const path = patched(await versionFile(version, SHAPES.tiny), (view) => view.setInt32(32, 2 ** 30, true));
    const checkpoint = await openFile(path);
    expect(await refused(checkpoint)).toMatchObject({ remedy: { option: "context" } });
    expect((await load(checkpoint, "ts", 16, 1)).config.seqLen).toBe(16);
    checkpoint.close();
  });

  it("by the length of an array, and the number of layers", async () => {
    expect(await refusal(paper({ dim: 2 ** 16, hiddenDim: 2 ** 17, nLayers: 1 }, 64))).toMatch(/8589934592 numbers/);
    expect(await refusal(paper({ dim: 2, hiddenDim: 1, nHeads: 1, nKvHeads: 1, nLayers: 2 ** 30 }))).toMatch(
      /1073741824 layers/,
    );
  });
});
