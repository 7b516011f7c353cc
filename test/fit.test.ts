/*
 * Whether a model fits: the numbers, the devices, and what is printed.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { availableBackends } from "../src/backend/load.ts";
import { type Fitting, fit, fitInto } from "../src/fit.ts";
import { checkpointFile, SHAPES } from "./helpers/checkpoint.ts";
import { llama2 } from "./helpers/cli.ts";
import { RTX_4070, smi } from "./helpers/nvidia.ts";
import { tempDir } from "./helpers/temp.ts";
import { worldOf } from "./helpers/world.ts";

const fitsOf = ({ places }: Fitting, place = 0) =>
  Object.fromEntries(places[place].fits.map(({ precision, fits }) => [precision, fits]));

describe("a model of 7B on a card of 12 GB", () => {
  it("fits in int8 only, which is reported with the flags to use", async () => {
    const found = await fit(undefined, { shape: "7B", memory: 12e9, context: 2048, bandwidth: 460 });
    expect(fitsOf(found)).toEqual({ fp32: false, fp16: false, int8: true });
    expect(found.advice).toEqual([
      expect.stringMatching(
        /fp32 needs 28\.\d GB, fp16 needs 15\.\d GB; int8 fits with 8\.\d GB \(backend cuda, precision int8\)$/,
      ),
    ]);
    const numbers = 32 * (4 * 4096 ** 2 + 3 * 4096 * 11008) + 2 * 32000 * 4096;
    const [weights] = found.needs.filter(({ backend, precision }) => backend === "cuda" && precision === "fp16");
    expect((weights.weights - 2 * 8 * 2 ** 20) / (2 * numbers)).toBeCloseTo(1, 3); // beside the buffers for loading
    expect(weights.perSequence / (2 * 2 * 32 * 2048 * 4096)).toBeCloseTo(1, 2);
    // what a token reads: all matrices but the embedding table, and half of the keys and values
    const read = (numbers - 32000 * 4096) * (1 + 4 / 64) + 2 * 2 * 32 * 1024 * 4096;
    expect((found.places[0].fits[2].tokensPerSecond ?? 0) / (460e9 / read)).toBeCloseTo(1, 2);
  });
});

describe("the largest context and batch", () => {
  const at = (options: object) => fit(undefined, { shape: "1B", memory: 5e9, ...options });
  const fp32 = ({ places }: Fitting) => places[0].fits[0];

  it("fit, and with one more they do not", async () => {
    const { maxContext } = fp32(await at({ batch: 8 }));
    expect(maxContext).toBeGreaterThan(1);
    expect(maxContext).toBeLessThan(2048);
    expect(fp32(await at({ batch: 8, context: maxContext })).fits).toBe(true);
    expect(fp32(await at({ batch: 8, context: maxContext + 1 })).fits).toBe(false);
    const { maxBatch } = fp32(await at({ context: 512 }));
    expect(fp32(await at({ context: 512, batch: maxBatch })).fits).toBe(true);
    expect(fp32(await at({ context: 512, batch: maxBatch + 1 })).fits).toBe(false);
  });

  it("are named where the requested ones do not fit", async () => {
    const { advice } = await at({ batch: 512, memory: 3e9 });
    expect(advice[0]).toMatch(/does not fit; int8 does at context \d+$/);
  });
});

describe("the devices", () => {
  it("are this machine, with the numbers that loading uses, and each GPU that nvidia-smi lists", async () => {
    const gpus = `${RTX_4070}1, GPU-b, NVIDIA H100, 535.183.01, 81559, 9, [N/A], 30, 70, 700, 0, 9.0\n`;
    const found = await fitInto(worldOf(smi(gpus)), undefined, { shape: "15M" });
    expect(found.places.map(({ name }) => name)).toEqual([
      "this machine",
      "GPU 0: NVIDIA GeForce RTX 4070",
      "GPU 1: NVIDIA H100",
    ]);
    expect(found.places.map(({ available }) => available).slice(1)).toEqual([11597 * 2 ** 20, 81559 * 2 ** 20]);
    expect(found.places[1].fits.map(({ precision }) => precision)).toEqual(["fp32", "fp16", "int8"]);
    expect(found.places[0].fits.map(({ precision }) => precision)).toEqual(["fp32", "int8"]);
  });

  it("are counted as by the backend that would run there", async () => {
    const path = checkpointFile(SHAPES["15M"]);
    const { needs } = await fit(path);
    const backend = (await availableBackends()).find(({ exact }) => exact);
    const { openFile } = await import("../src/checkpoint/openFile.ts");
    const source = await openFile(path);
    const expected = backend?.estimate(source, 256, { threads: 0 });
    source.close();
    expect(needs[0]).toMatchObject({
      backend: "cpu",
      precision: "fp32",
      weights: expected?.weights,
      scratch: expected?.scratch,
    });
  });
});

describe("formats", () => {
  const folder = tempDir();
  const small = checkpointFile(SHAPES.gqa);

  beforeAll(async () => {
    await llama2(["quantize", small, join(folder, "int8.bin"), "--group-size", "16"]);
    await llama2(["convert", small, join(folder, "hf"), "--to", "safetensors"]);
  });

  it("an int8 file stays int8", async () => {
    const { needs } = await fit(join(folder, "int8.bin"));
    expect(needs.map(({ backend, precision }) => `${backend} ${precision}`)).toEqual(["cpu int8", "cuda int8"]);
  });

  it("a Hugging Face folder needs as much as the same model in a file", async () => {
    expect((await fit(join(folder, "hf"))).needs).toEqual((await fit(small)).needs);
  });
});

describe("the command", () => {
  it("prints at most 80 columns, and exits with 1 where nothing fits", async () => {
    const yes = await llama2(["fit", "--shape", "7B", "--memory", "12GB", "--bandwidth", "460"]);
    expect(yes.code).toBe(0);
    expect(yes.stdout.toString()).toMatch(
      /^ {2}int8 {2}yes: context up to 4096, or \d+ sequences?, at most \d+ tok\/s$/m,
    );
    for (const line of yes.stdout.toString().split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    const no = await llama2(["fit", "--shape", "7B", "--memory", "6GiB", "--json"]);
    expect(no.code).toBe(1);
    const found: Fitting = JSON.parse(no.stdout.toString());
    expect(found.places[0].available).toBe(6 * 2 ** 30);
    expect(found.advice[0]).toContain("it does not fit, whatever the context");
  });

  it.each([
    [["--shape", "7B", "--memory", "12 parsecs"], 2, "Expected a size such as 12GB or 24GiB"],
    [["--shape", "9B"], 2, 'the shape "9B" is not known'],
    [[], 2, "fit takes a model or a shape"],
    [["no-such-model.bin"], 1, "no-such-model.bin"],
    [["broken.bin"], 1, "broken.bin"],
  ])("refuses %j", async (args, status, message) => {
    const cwd = tempDir();
    writeFileSync(join(cwd, "broken.bin"), "no model");
    const { code, stderr, stdout } = await llama2(["fit", ...args], { cwd });
    expect({ code, stdout: stdout.toString() }).toEqual({ code: status, stdout: "" });
    expect(stderr).toContain(message);
  });
});
