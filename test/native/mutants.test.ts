/*
 * The bugs of `npm run test:mutants` can still be planted: each is a change of a line that is there.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { MUTANTS } from "../../scripts/mutants-cuda.mjs";
import { ROOT } from "../helpers/golden.ts";

it.each(MUTANTS.map(([what, file, from, to]) => ({ what, file, from, to })))("$what", ({ file, from, to }) => {
  expect(readFileSync(join(ROOT, "native", "cuda", file), "utf8")).toContain(from);
  expect(to).not.toBe(from);
});
