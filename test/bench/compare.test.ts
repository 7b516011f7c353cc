/*
 * Compared files may come from anywhere.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compare, readResult } from "../../src/bench/compare.ts";
import { measurement } from "../helpers/measurement.ts";
import { tempDir } from "../helpers/temp.ts";

const [row] = measurement().rows;

function reading(content: unknown) {
  const path = join(tempDir(), "result.json");
  writeFileSync(path, JSON.stringify(content));
  return () => readResult(path);
}

describe("a file that is compared", () => {
  it.each<[what: string, content: unknown, message: string]>([
    ["null", null, 'expected "bench": 1'],
    ["an array", [], 'expected "bench": 1'],
    [
      "an object for the processor",
      { bench: 1, machine: { cpu: { toString: 5 } }, rows: [] },
      "its processor is no name",
    ],
    ["no rows", { bench: 1 }, "it has no rows"],
    ["null for a row", { bench: 1, rows: [null] }, "a row lacks its name"],
    ["an object for a name", { bench: 1, rows: [{ ...row, backend: { toString: 1 } }] }, "a row lacks its name"],
    ["a text for threads", { bench: 1, rows: [{ ...row, threads: "2" }] }, "a row lacks its name"],
    ["no speed", { bench: 1, rows: [{ ...row, tokensPerSecond: undefined }] }, "a row lacks its speed"],
    [
      "a speed of 0",
      { bench: 1, rows: [{ ...row, tokensPerSecond: { median: 0, min: 0, max: 0 } }] },
      "a row lacks its speed",
    ],
  ])("is refused with %s", (_, content, message) => {
    expect(reading(content)).toThrow(message);
  });

  it("may have rows of other programs, which have no number of threads", () => {
    const { threads: _, ...other } = row;
    const result = { ...measurement(), rows: [row, { ...other, backend: "run" }] };
    const { changes } = compare(reading(result)(), reading(result)());
    expect(changes.length).toBe(2);
  });
});
