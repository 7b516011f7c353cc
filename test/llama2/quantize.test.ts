import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadInt8Panels } from "../../src/backend/ts/int8Panels.ts";
import { openFile } from "../../src/checkpoint/openFile.ts";
import {
  dequantize,
  mallocQuantized,
  matmul,
  packQuantized,
  type QuantizedRows,
  quantize,
} from "../../src/llama2/quantize.ts";
import { type LoadMatrix, loadQuantizedRows, loadRows, loadTransformer } from "../../src/llama2/weights.ts";
import { quantize as quantizeFile } from "../../src/quantize.ts";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";
import { shortOrLong, withoutLarge } from "../helpers/full.ts";
import {
  forcedTokens,
  golden,
  hasShared,
  logitsSha256,
  needsShared,
  sharedFile,
  sharedGolden,
} from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

/** What is asked of one int8 file. */
interface Int8Case {
  group_size: number;
  runq_forced_logits?: { positions: number; sha256: string };
}

async function logitsOf(path: string, groupSize: number, positions: number, load: LoadMatrix) {
  const int8 = join(tempDir(), "int8.bin");
  await quantizeFile(path, int8, { groupSize });
  const checkpoint = await openFile(int8);
  const transformer = await loadTransformer(checkpoint, load);
  checkpoint.close();
  return logitsSha256(transformer, forcedTokens({ vocab_size: checkpoint.config.vocabSize, positions, sha256: "" }));
}

const layouts = {
  "plain rows (the reference)": loadRows,
  "panels of sixteen rows (the ts backend)": loadInt8Panels,
};

describe.each(Object.entries(layouts))("logits of int8 models, with %s", (_, layout) => {
  const { cases } = golden<{ cases: { shape: string; seed: number; untied: boolean; v2: Int8Case[] }[] }>(
    "export-int8.json",
  );
  it.each(layout === loadRows ? cases : withoutLarge(cases))(
    "are runq.c's, bit for bit: shape $shape",
    async ({ shape, seed, untied, v2 }) => {
      const path = checkpointFile(SHAPES[shape], { seed, untied });
      for (const { group_size, runq_forced_logits } of v2) {
        const { positions = 0, sha256 } = runq_forced_logits ?? {};
        expect(await logitsOf(path, group_size, positions, layout)).toBe(sha256);
      }
    },
  );

  it.skipIf(!hasShared)(`are runq.c's, bit for bit: stories260K${needsShared}`, async () => {
    const { exports } = sharedGolden<{ exports: { source: string; v2: Int8Case[] }[] }>("export-int8.json");
    const exported = exports.find(({ source }) => source === "stories260K");
    const { group_size, runq_forced_logits } = exported?.v2.find((v2) => v2.runq_forced_logits) ?? { group_size: 0 };
    const { positions = 0, sha256 } = runq_forced_logits ?? {};
    expect(await logitsOf(sharedFile("models/stories260K.bin"), group_size, positions, layout)).toBe(sha256);
  });

  it.each([
    ["hidden_dim", 64, "260K"],
    ["dim", 32, "gqa"],
    ["either", 96, "gqa"],
  ] as const)("follow the definition where the group size does not divide %s", async (_, groupSize, shape) => {
    const path = checkpointFile(SHAPES[shape], { seed: 3 });
    const positions = shortOrLong(8, 40);
    const expected = await logitsOf(path, groupSize, positions, loadByDefinition);
    expect(await logitsOf(path, groupSize, positions, layout)).toBe(expected);
  });
});

// ----------------------------------------------------------------------------
// The int8 matmul said once more, number by number, with nothing of the code under test

const cell = new Float32Array(1);
/** C's conversion to float. */
function float(x: number): number {
  cell[0] = x;
  return cell[0];
}

/** The scale of x[j]'s group. */
function scaleAt(x: Float32Array, groupSize: number, j: number): number {
  const group = x.filter((_, i) => Math.floor(i / groupSize) === Math.floor(j / groupSize));
  return float(Math.max(...group.map(Math.abs)) / 127);
}

/** x / scale, rounded half away from zero. */
function rounded(x: number, scale: number): number {
  const quotient = Math.abs(float(x / scale));
  return Number.isNaN(quotient) ? 0 : Math.sign(x) * Math.floor(quotient + 0.5);
}

/** A sum ends where the next number has another weight scale or another activation scale. */
function byDefinition(xout: Float32Array, x: Float32Array, { q, s, groupSize, d, n }: QuantizedRows): void {
  const scales = Array.from(x, (_, j) => scaleAt(x, groupSize, j));
  for (let i = 0; i < d; i++) {
    let val = 0;
    let ival = 0;
    for (let j = 0; j < n; j++) {
      ival += q[i * n + j] * rounded(x[j], scales[j]);
      const next = i * n + j + 1;
      if (j + 1 === n || (j + 1) % groupSize === 0 || next % groupSize === 0) {
        const weightScale = s[(next - 1 - ((next - 1) % groupSize)) / groupSize];
        val = float(val + float(float(float(ival) * weightScale) * scales[j]));
        ival = 0;
      }
    }
    xout[i] = val;
  }
}

const loadByDefinition: LoadMatrix = async (...tensor) => {
  const w = await loadQuantizedRows(...tensor);
  return { ...packQuantized(w), matmul: (xout, x) => byDefinition(xout, x, w) };
};

describe("activations", () => {
  const quantized = (values: number[], groupSize: number) => {
    const x = mallocQuantized(values.length, groupSize);
    quantize(x, Float32Array.from(values));
    return { q: [...x.q], s: [...x.s] };
  };

  it("are rounded, halves away from zero, with a scale that makes the largest 127", () => {
    expect(quantized([127, 2.5, -2.5, 0.4], 4)).toEqual({ q: [127, 3, -3, 0], s: [1] });
    expect(quantized([-254, 3, 5, 1], 4)).toEqual({ q: [-127, 2, 3, 1], s: [2] });
  });

  it("may have a shorter group at the end", () => {
    expect(quantized([127, 1, 127, 1, -1], 4)).toEqual({ q: [127, 1, 127, 1, -127], s: [1, float(1 / 127)] });
  });

  it("are zeros in a group of zeros", () => {
    expect(quantized([0, -0, 127, 0], 2)).toEqual({ q: [0, 0, 127, 0], s: [0, 1] });
  });

  it("keep a NaN or infinite value visible", () => {
    expect(quantized([1, NaN, 2, 127], 2).s).toEqual([NaN, 1]);
    expect(quantized([NaN, 1, 2, 127], 2).s).toEqual([NaN, 1]);
    const xout = new Float32Array(1);
    for (const broken of [NaN, Infinity, -Infinity]) {
      matmul(xout, Float32Array.of(1, broken), {
        q: Int8Array.of(1, 0),
        s: Float32Array.of(1),
        groupSize: 2,
        d: 1,
        n: 2,
      });
      expect(xout[0]).toBeNaN();
    }
  });
});

describe("int8 matrices", () => {
  it("may hold -128, which only other programs write", () => {
    const w = { q: Int8Array.of(-128, -128, 127, 1), s: Float32Array.of(0.5, 2), groupSize: 2, d: 2, n: 2 };
    const xout = new Float32Array(2);
    matmul(xout, Float32Array.of(127, -127), w);
    expect([...xout]).toEqual([0, 126 * 127 * 2]);
    matmul(xout, Float32Array.of(127, 127), w);
    expect([...xout]).toEqual([-256 * 127 * 0.5, 128 * 127 * 2]);
  });

  it("give rows whose groups began in the previous row", () => {
    const w = { q: Int8Array.of(1, 2, 3, 4, 5, -128), s: Float32Array.of(1, 10, 100), groupSize: 2 };
    const row = new Float32Array(3);
    dequantize(w, row, 3);
    expect([...row]).toEqual([40, 500, -12800]);
  });
});
