/*
 * The bugs of `npm run test:mutants` can still be planted, whatever the comments.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { codeOf, MUTANTS, planted } from "../../scripts/mutants-cuda.mjs";
import { ROOT } from "../helpers/golden.ts";

const read = (file: string) => readFileSync(join(ROOT, "native", "cuda", file), "utf8");

it.each(MUTANTS)("there is one place for $what", (mutant) => {
  expect(planted(mutant, read(mutant.file))).not.toBe(codeOf(read(mutant.file)));
});

it("a place is found by code, not by comments or line breaks", () => {
  const bug = { what: "a bug", file: "a.h", from: "a(); b();", to: "b();" };
  expect(planted(bug, '#include "x.h"  // why\n  a();  // a(); b();\n  /* so */ b();\n')).toBe(
    '\n#include "x.h"\nb();',
  );
});

it("a place that is missing, or found twice, is an error", () => {
  const bug = { what: "a bug", file: "a.h", from: "a();", to: "" };
  expect(() => planted(bug, "b();")).toThrow("a bug: a.h has 0 places with `a();`");
  expect(() => planted(bug, "a(); a();")).toThrow("a.h has 2 places");
});
