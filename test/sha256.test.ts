import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, it } from "vitest";
import { Sha256, sha256 } from "../src/sha256.ts";
import { FULL } from "./helpers/full.ts";

const expected = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

it("is OpenSSL's for every length near the end of a block", () => {
  for (let length = 0; length < 200; length++) {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 131 + length) & 0xff);
    expect(sha256(bytes)).toBe(expected(bytes));
  }
});

it("is the same however its data is split", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 150 }), { maxLength: 8 }), (parts) => {
      const hash = new Sha256();
      for (const part of parts) hash.update(part);
      expect(hash.hex()).toBe(expected(Buffer.concat(parts)));
    }),
    { seed: 1, numRuns: 300 },
  );
});

it.runIf(FULL)("counts bits beyond 2^32", () => {
  const mebibyte = new Uint8Array(1 << 20).fill(7);
  const [ours, theirs] = [new Sha256(), createHash("sha256")];
  for (let i = 0; i < 513; i++) {
    ours.update(mebibyte);
    theirs.update(mebibyte);
  }
  expect(ours.hex()).toBe(theirs.digest("hex"));
});
