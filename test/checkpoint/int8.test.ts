import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { asInt8 } from "../../src/checkpoint/int8.ts";
import { open } from "../../src/checkpoint/open.ts";
import { filesAt } from "../../src/files/disk.ts";
import { tensorsOf, type WeightSource } from "../../src/llama2/weights.ts";
import { loadModel } from "../../src/loadModel.ts";
import { quantize } from "../../src/quantize.ts";
import { hasAddon } from "../helpers/backends.ts";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";
import { rejected } from "../helpers/errors.ts";
import { tempDir } from "../helpers/temp.ts";
import { patched } from "../helpers/versions.ts";

/** All numbers of a source, tensor by tensor. */
async function everything(source: WeightSource, multipleOf: number): Promise<Record<string, number[]>> {
  const all: Record<string, number[]> = {};
  for (const { name, layers, d, n } of tensorsOf(source)) {
    for (let layer = 0; layer < layers; layer++) {
      const numbers: number[] = [];
      const scales: number[] = [];
      for await (const piece of source.pieces(name, layer, multipleOf)) {
        expect(piece.offset).toBe(numbers.length);
        const some = "q" in piece ? piece.q : piece.values;
        numbers.push(...some);
        if ("q" in piece) scales.push(...piece.scales);
        if (numbers.length < d * n) expect(some.length % multipleOf).toBe(0);
      }
      all[`${name} ${layer}`] = [...numbers, ...scales];
    }
  }
  return all;
}

async function both(shape: keyof typeof SHAPES): Promise<{ float: string; int8: string }> {
  const float = checkpointFile(SHAPES[shape], { untied: true });
  const int8 = join(tempDir(), "int8.bin");
  await quantize(float, int8);
  return { float, int8 };
}

describe("rounding to int8 during loading", () => {
  it.each(["tiny", "gqa", "mqa"] as const)("has the groups and the bits of quantize (%s)", async (shape) => {
    const { float, int8 } = await both(shape);
    const [one, other] = [await open(filesAt(float)), await open(filesAt(int8))];
    const rounded = asInt8(one);
    for (const { name } of tensorsOf(other)) expect(rounded.formatOf(name)).toEqual(other.formatOf(name));
    const expected = await everything(other, 1);
    for (const multipleOf of [1, 48, 1000]) expect(await everything(rounded, multipleOf)).toEqual(expected);
    // a model that is int8 already stays as it is
    expect(await everything(asInt8(other), 1)).toEqual(expected);
    one.close();
    other.close();
  });

  it.each(["ts", "wasm", ...(hasAddon ? (["cpu"] as const) : [])] as const)(
    "gives the logits of the quantized file on %s",
    async (backend) => {
      const { float, int8 } = await both("gqa");
      const logits = async (path: string, precision?: "int8") => {
        const model = await loadModel(path, { backend, precision, tokenizer: null });
        const rows: number[] = [];
        for await (const row of model.logits([1, 5, 9, 200])) rows.push(...row);
        await model.dispose();
        return rows;
      };
      const expected = await logits(int8);
      expect(await logits(float, "int8")).toEqual(expected);
      expect(await logits(int8, "int8")).toEqual(expected);
      expect(await logits(float)).not.toEqual(expected);
    },
  );

  it("refuses weights that are not finite", async () => {
    const path = patched(checkpointFile(SHAPES.tiny), (view) =>
      view.setFloat32(28 + 4 * 300 * 16 + 4 * 32 + 40, NaN, true),
    );
    const loading = loadModel(path, { backend: "ts", precision: "int8", tokenizer: null });
    expect((await rejected("E_NUMERIC", loading)).message).toMatch(/wq of layer 0 has weights that are NaN/);
  });
});
