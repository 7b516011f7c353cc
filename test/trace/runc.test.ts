/*
 * The map between run.c and its translation: complete, in order, and, if a run.c is given, with its correct lines.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { partsOf, RUN_C } from "../../src/trace/runc.ts";
import { STOPS } from "../../src/trace/stops.ts";
import { ROOT, sha256 } from "../helpers/golden.ts";

const read = (file: string) => readFileSync(join(ROOT, file), "utf8");
const translated = RUN_C.flatMap((part) => ("file" in part ? [part] : []));

describe("the map of run.c", () => {
  it("has every line that src/llama2/ claims to translate, under that file", () => {
    const files = readdirSync(join(ROOT, "src", "llama2")).map((name) => `src/llama2/${name}`);
    for (const file of files) {
      // "run.c 182: rmsnorm." at the head of a function or an interface; "run.c 537, in encode" is a part of one
      const heads = [...read(file).matchAll(/^(?:\/\*\*| \*) .*?\brun\.c (\d+)(?=[:.;])/gm)].map(([, line]) =>
        Number(line),
      );
      const mapped = translated.filter((part) => part.file === file).map(({ first }) => first);
      expect({ file, lines: mapped }).toEqual({ file, lines: [...new Set(heads)].filter((line) => line !== 617) });
    }
  });

  it("names functions and interfaces that exist, with the line of run.c in their comments", () => {
    for (const { c, first, file, name } of translated.filter(({ name }) => name !== "")) {
      const text = read(file);
      const declared = new RegExp(`^(export )?(async )?(function\\*?|interface|const) ${name}\\b`, "m").exec(text);
      expect({ name, declared: declared !== null }).toEqual({ name, declared: true });
      const above = text.slice(0, declared?.index).split("/**").at(-1);
      expect({ c, above: above?.includes(`run.c ${first}`) }).toEqual({ c, above: true });
    }
  });

  it("keeps run.c's order within each file of src/llama2/", () => {
    const files = translated.map(({ file }) => file).filter((file) => file.startsWith("src/llama2/"));
    for (const file of new Set(files)) {
      const text = read(file);
      const places = translated
        .filter((part) => part.file === file && part.name !== "")
        .map(({ name }) =>
          text.search(new RegExp(`^(export )?(async )?(function\\*?|interface|const) ${name}\\b`, "m")),
        );
      expect({ file, places }).toEqual({ file, places: [...places].sort((a, b) => a - b) });
    }
  });

  it("has no gap: its parts follow each other, and each part without a translation has a reason", () => {
    for (const [i, { first, last }] of RUN_C.entries()) {
      expect(last).toBeGreaterThan(first);
      if (i > 0) expect(first).toBeGreaterThan(RUN_C[i - 1].last);
    }
    expect(RUN_C.filter((part) => "why" in part).map(({ c }) => c)).toEqual([
      "free_run_state",
      "free_transformer",
      "TokenIndex",
      "compare_tokens",
      "free_tokenizer",
      "ProbIndex",
      "compare",
      "free_sampler",
      "time_in_ms",
    ]);
  });

  it("has the line of every stop within run.c's forward, in order of execution", () => {
    const forward = RUN_C.find(({ c }) => c === "forward");
    const lines = STOPS.map(({ runc }) => runc);
    expect(lines).toEqual([...lines].sort((a, b) => a - b));
    expect(lines[0]).toBeGreaterThan(forward?.first ?? Infinity);
    expect(lines.at(-1)).toBeLessThan(forward?.last ?? 0);
  });

  const path = process.env.LLAMA2_RUN_C;
  it.skipIf(!path)(`has the hashes of llama2.c's run.c${path ? "" : " (skipped: LLAMA2_RUN_C names none)"}`, () => {
    const parts = partsOf(readFileSync(path as string, "utf8"));
    const found = parts.map(({ what, text }) => ({ what, sha256: sha256(text).slice(0, 16) }));
    expect(found).toEqual(parts.map(({ what, sha256 }) => ({ what, sha256 })));
    // every function of run.c is in the map
    const functions = readFileSync(path as string, "utf8").match(/^(?:[a-z]\w* )+\*?(\w+)\(/gm) ?? [];
    const names = functions.map((head) => /(\w+)\($/.exec(head)?.[1]);
    expect(names.filter((name) => !RUN_C.some(({ c }) => c === name))).toEqual([]);
    expect(names.length).toBeGreaterThan(25);
  });
});
