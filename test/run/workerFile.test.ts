/*
 * The file of the model's thread: it is loaded at each start, before the first token.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ROOT } from "../helpers/golden.ts";

const run = join(ROOT, "dist", "run");
const importsOf = (file: string) => {
  const code = readFileSync(join(run, file), "utf8");
  return [...code.matchAll(/^import\s[^;]*?"([^"]+)";/gm)].map(([, name]) => name);
};

it("brings its modules with it: it imports Node's, and few files beside it", () => {
  const loaded = new Set(["worker.js"]);
  for (const file of loaded) {
    for (const name of importsOf(file)) {
      expect(name).toMatch(/^node:|^\.\/worker-\w+\.js$/);
      if (name.startsWith(".")) loaded.add(name.slice(2));
    }
  }
  expect(loaded.size).toBeLessThanOrEqual(4);
  expect(readFileSync(join(run, "worker.js"), "utf8")).toMatch(/\bimport\("\.\/worker-cpu\.js"\)/);
});

it("has a source map with the sources in it, so that a debugger shows what was written", () => {
  const map = JSON.parse(readFileSync(join(run, "worker.js.map"), "utf8"));
  const at = map.sources.indexOf("../../src/run/scheduler.ts");
  expect(map.sourcesContent[at]).toBe(readFileSync(join(ROOT, "src/run/scheduler.ts"), "utf8"));
});
