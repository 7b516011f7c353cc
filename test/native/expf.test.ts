import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { EXP2_32NDS } from "../../src/llama2/math.ts";
import { ROOT } from "../helpers/golden.ts";

it("the native expf has the table of math.ts", () => {
  const header = readFileSync(join(ROOT, "native/cpu/vectors.h"), "utf8");
  const entries = [...header.matchAll(/0x([0-9a-f]{16}) - \((\d+)ull << 47\)/g)];
  expect(entries.map(([, , index]) => Number(index))).toEqual([...EXP2_32NDS.keys()]);
  const table = BigUint64Array.from(entries, ([, bits]) => BigInt(`0x${bits}`));
  expect(new Float64Array(table.buffer)).toEqual(EXP2_32NDS);
});
