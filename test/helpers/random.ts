import fc from "fast-check";

/** Numbers in [0, 1), the same for the same seed everywhere (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Any unit of UTF-16, lone surrogates among them. (fast-check's own "binary" takes seconds to be made.) */
export const utf16Unit: fc.Arbitrary<string> = fc.nat(0xffff).map((unit) => String.fromCharCode(unit));
