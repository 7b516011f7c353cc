import { readFileSync, truncateSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { load } from "../../src/backend/load.ts";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { Llama2Error } from "../../src/errors.ts";
import { SHAPES } from "../helpers/checkpoint.ts";
import { shortOrLong } from "../helpers/full.ts";
import { fileOf, VERSIONS, versionFile } from "../helpers/versions.ts";

/** Numbers that are near something. */
const int32 = fc.oneof(
  fc.constantFrom(0, 1, -1, 2, 3, 4, 6, 8, 12, 16, 48, 64, 96, 128, 512, 2 ** 16, 2 ** 30, -(2 ** 31), 2 ** 31 - 1),
  fc.integer({ min: -20, max: 200 }),
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
);
const float32 = fc.oneof(fc.constantFrom(0, -0, 1e-6, 1e-5, 1, 10000, 1e6, NaN, Infinity, -1), fc.float());
const TAG = 0x30737065; // "eps0"

/** One change of a header: of a field, where fields of any version lie, or of any byte. */
const change = fc.oneof(
  fc.record({ at: fc.constantFrom(0, 4, 8, 12, 16, 20, 24, 28, 32, 37), int32 }),
  fc.record({ at: fc.constant(36), byte: fc.nat(255) }),
  fc.record({ at: fc.constant(64), int32: fc.constantFrom(0, TAG, TAG + 1) }),
  fc.record({ at: fc.constantFrom(68, 72), float32 }),
  fc.record({ at: fc.nat(255), byte: fc.nat(255) }),
);
type Change = { at: number; int32?: number; float32?: number; byte?: number };

function apply(view: DataView, { at, int32, float32, byte }: Change): void {
  if (int32 !== undefined) view.setInt32(at, int32, true);
  else if (float32 !== undefined) view.setFloat32(at, float32, true);
  else if (byte !== undefined) view.setUint8(at, byte);
}

/** Open, load and run a file. What happened: an error's code, or that it ran. */
async function outcome(path: string): Promise<{ did: string; message: string }> {
  try {
    const checkpoint = await openFile(path);
    try {
      const { model } = await load(checkpoint, "ts", 4, 1);
      const logits = model.openContext(1).forward([{ token: 0, pos: 0, sequence: 0 }], 1);
      expect(logits.length).toBe(checkpoint.config.vocabSize);
      return { did: "ran", message: "" };
    } finally {
      checkpoint.close();
    }
  } catch (error) {
    if (!(error instanceof Llama2Error)) throw error;
    return { did: error.code, message: error.message };
  }
}

/** A changed header mostly asks for another size: make the file so long, if that is not too much, and try again. */
async function outcomeAtRightSize(path: string): Promise<string> {
  const { did, message } = await outcome(path);
  const asked = /asks for ([\d,]+) bytes/.exec(message)?.[1].replaceAll(",", "");
  if (!asked || BigInt(asked) > 1n << 26n) return did;
  truncateSync(path, Number(asked));
  return (await outcome(path)).did;
}

describe.each(VERSIONS)("version %d with a damaged header", async (version) => {
  const good = readFileSync(await versionFile(version, SHAPES.gqa));
  const path = fileOf(good);

  it("is refused with a typed error, or loads", async () => {
    const outcomes: Record<string, number> = {};
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        const bytes = new Uint8Array(good);
        for (const change of changes) apply(new DataView(bytes.buffer), change);
        const did = await outcomeAtRightSize(fileOf(bytes));
        outcomes[did] = (outcomes[did] ?? 0) + 1;
      }),
      { seed: 10 + version, numRuns: shortOrLong(250, 1000) },
    );
    expect((await outcome(path)).did).toBe("ran");
    // both ways were taken often enough to prove something
    expect(outcomes.ran).toBeGreaterThan(50);
    expect(outcomes.E_FORMAT).toBeGreaterThan(50);
    expect(Object.keys(outcomes).every((did) => ["ran", "E_FORMAT", "E_LIMIT"].includes(did))).toBe(true);
  });
});
