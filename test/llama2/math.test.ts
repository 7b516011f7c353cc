import { describe, expect, it } from "vitest";
import { cosf, expf, f32, powf, rintf, roundf, sinf } from "../../src/llama2/math.ts";
import { type Config, ropeAngles, ropeFrequencies } from "../../src/llama2/transformer.ts";
import { golden, sha256 } from "../helpers/golden.ts";

const goldens = golden<Record<string, string> & { step: number }>("math.json");

/** The sum over f at every `step`th float32 there is. */
function sweep(f: (x: number) => number): string {
  const count = Math.ceil(2 ** 32 / goldens.step);
  const bits = Uint32Array.from({ length: count }, (_, i) => i * goldens.step);
  const results = new Float32Array(bits.buffer).map(f);
  const resultBits = new Uint32Array(results.buffer);
  results.forEach((result, i) => {
    if (Number.isNaN(result)) resultBits[i] = 0x7fc00000;
  });
  return sha256(new Uint8Array(results.buffer));
}

describe("glibc's float functions, bit for bit", () => {
  it.each([
    ["expf", expf],
    ["sinf", sinf],
    ["cosf", cosf],
  ])("%s over all magnitudes, denormals, infinities and NaN", (name, f) => {
    expect(sweep(f)).toBe(goldens[name]);
  });

  it("powf for every RoPE frequency of head sizes up to 256", () => {
    const frequencies: number[] = [];
    for (let headSize = 2; headSize <= 256; headSize += 2) {
      for (let i = 0; i < headSize; i += 2) frequencies.push(1 / powf(10000, f32(i / headSize)));
    }
    expect(sha256(new Uint8Array(Float32Array.from(frequencies).buffer))).toBe(goldens.frequencies);
  });

  it("ropeAngles over Llama 2's whole context", () => {
    const freq = ropeFrequencies({ dim: 128, nHeads: 1, ropeTheta: 10000 } as Config);
    const cos = new Float32Array(64);
    const sin = new Float32Array(64);
    const all = new Float32Array(4096 * 128);
    for (let pos = 0; pos < 4096; pos++) {
      ropeAngles(cos, sin, pos, freq);
      for (let i = 0; i < 64; i++) all.set([cos[i], sin[i]], pos * 128 + 2 * i);
    }
    expect(sha256(new Uint8Array(all.buffer))).toBe(goldens.angles);
  });
});

describe("whole numbers", () => {
  it("roundf rounds halves away from zero", () => {
    const xs = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, -0, 3, NaN, Infinity, 2 ** 24 + 2];
    expect(xs.map(roundf)).toEqual([1, 2, 3, -1, -2, -3, 127, -0, 3, NaN, Infinity, 2 ** 24 + 2]);
    // the float32 below a half, which must not be lifted to 1 by adding a half to it
    expect(roundf(0.49999997019767761)).toBe(0);
  });

  it("rintf rounds halves to even", () => {
    const xs = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, 0.49999997019767761, 3, NaN];
    expect(xs.map(rintf)).toEqual([0, 2, 2, 0, -2, -2, 126, 0, 3, NaN]);
  });
});
