/*
 * Changes to a file's bytes without regard to its format.
 */
import type { Dice } from "./dice.ts";

/** The bytes with a few of them changed, taken out or put in: most of the time none, since the structure was
 * changed. */
export function damaged(bytes: Uint8Array, dice: Dice, probability = 0.3): Uint8Array {
  let result = bytes;
  while (dice.chance(probability)) result = change(result, dice);
  return result;
}

function change(bytes: Uint8Array, dice: Dice): Uint8Array {
  const at = dice.below(bytes.length + 1);
  switch (dice.below(6)) {
    case 0:
      return bytes.slice(0, at);
    case 1:
      return joined(
        bytes.subarray(0, at),
        Uint8Array.from({ length: dice.below(9) }, () => dice.below(256)),
        bytes.subarray(at),
      );
    case 2:
      return joined(bytes.subarray(0, at), bytes.subarray(at + 1 + dice.below(16)));
    case 3: {
      // a piece of the file once more
      const from = dice.below(bytes.length + 1);
      return joined(bytes.subarray(0, at), bytes.subarray(from, from + dice.below(64)), bytes.subarray(at));
    }
    case 4: {
      const copy = new Uint8Array(bytes); // a Buffer's slice is no copy
      if (copy.length < 8) return copy;
      const place = dice.below(copy.length - 7);
      const view = new DataView(copy.buffer);
      if (dice.chance(0.5)) view.setUint32(place, dice.whole(), true);
      else view.setBigUint64(place, BigInt.asUintN(64, BigInt(Math.trunc(dice.whole()))), true);
      return copy;
    }
    default: {
      const copy = new Uint8Array(bytes);
      if (at < copy.length) copy[at] = dice.chance(0.5) ? copy[at] ^ (1 << dice.below(8)) : dice.below(256);
      return copy;
    }
  }
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
