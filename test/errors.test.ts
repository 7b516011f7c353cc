import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ROOT } from "./helpers/golden.ts";

it("the library's messages name no command-line flags, since its callers have typed none", () => {
  const src = join(ROOT, "src");
  // what host/ says are commands of the system, with their flags
  const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((name) =>
    /^(?!cli\b|host\b).*\.ts$/.test(name),
  );
  expect(files.length).toBeGreaterThan(30);
  for (const file of files) {
    const strings = readFileSync(join(src, file), "utf8").match(/"[^"\n]*"|`[^`]*`/g) ?? [];
    const flags = strings.filter((text) => / --?[a-z]/i.test(text) && !text.startsWith("`npm"));
    // node's own flag is what such a process lacks
    expect(flags.filter((text) => !text.includes("start node with --allow-worker"))).toEqual([]);
  }
});
