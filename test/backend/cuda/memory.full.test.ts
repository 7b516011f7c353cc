/*
 * What `fit` counts for a GPU without using one, compared with what the addon counts and allocates.
 */
import { describe, expect, it } from "vitest";
import { canEmulateAddon, EMULATED_ADDON } from "../../../scripts/cuda-emulator.mjs";
import { loadCudaAddon } from "../../../src/backend/cuda/addon.ts";
import { openCuda } from "../../../src/backend/cuda/cuda.ts";
import { countMemory, nativeOptionsOf, needsOf } from "../../../src/backend/cuda/memory.ts";
import type { CudaOptions } from "../../../src/backend/cuda/options.ts";
import { SHAPE_NAMES, shapeOf } from "../../../src/bench/shapes.ts";
import { randomModel } from "../../../src/checkpoint/random.ts";
import { needsEmulator } from "../../helpers/emulatedPackage.ts";
import { quantized } from "../../helpers/sources.ts";

const ODD = ["40,88,3,5,5,301,70", "96,33,2,6,2,513,20000", "64,172,1,8,4,512,70000"];

describe.skipIf(!canEmulateAddon)(`memory of a GPU${needsEmulator}`, () => {
  it.each([...SHAPE_NAMES, ...ODD])("is counted as in the addon: %s", (name) => {
    const addon = loadCudaAddon(EMULATED_ADDON);
    const { config, sharedClassifier } = shapeOf(name);
    for (const shared of [sharedClassifier, !sharedClassifier]) {
      const source = randomModel(config, { sharedClassifier: shared });
      for (const own of [{}, { precision: "fp16" }, { precision: "int8" }, { kvPrecision: "fp16" }] as CudaOptions[]) {
        const options = nativeOptionsOf(source, own);
        for (const slots of [1, 2, 33]) {
          const counted = addon.estimateMemory(config, options, slots);
          expect(countMemory(config, options, slots), `${JSON.stringify(own)} ${slots}`).toEqual(counted);
        }
      }
    }
  });

  it.each([1, 8, 32])("of an int8 model in groups of %i, too", (groupSize) => {
    const source = quantized(randomModel(shapeOf("64,96,2,4,2,130,80").config), groupSize);
    const options = nativeOptionsOf(source);
    const { available: _, ...estimate } = openCuda(EMULATED_ADDON).estimate(source, 80, { threads: 0 });
    expect(needsOf((slots) => countMemory(source.config, options, slots))).toEqual(estimate);
  });

  it("has a measured copy speed on each device", () => {
    const addon = loadCudaAddon(EMULATED_ADDON);
    for (const bytes of [1, 1 << 20]) expect(addon.copyBandwidth(0, bytes, 0.01)).toBeGreaterThan(0);
    expect(() => addon.copyBandwidth(1, 1 << 20, 0.01)).toThrow("there is no device 1");
    expect(() => addon.copyBandwidth(0, 0, 0.01)).toThrow("bytes");
  });
});
