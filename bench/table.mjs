/*
 * npm run bench:table: writes the newest results of bench/results into the README, each between its two markers, and draws
 * the chart docs/speeds.svg. With --check it changes nothing, and fails if they are not up to date.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../scripts/fingerprint.mjs";
import { checkedArguments } from "../scripts/usage.mjs";
import { chartOf } from "./chart.mjs";
import { BLOCKS, newestResult, withTables } from "./readme.mjs";

const isRight = (args) => args.length === 0 || (args.length === 1 && args[0] === "--check");
const checks = checkedArguments("npm run bench:table [-- --check]", isRight).length > 0;
const results = join(root, "bench", "results");
const wanted = {
  "README.md": (readme) => withTables(readme, results),
  "docs/speeds.svg": () => chartOf(newestResult(results, BLOCKS[0])),
};
for (const [name, from] of Object.entries(wanted)) {
  const path = join(root, name);
  const content = readFileSync(path, "utf8");
  if (!checks) {
    writeFileSync(path, from(content));
  } else if (content !== from(content)) {
    console.error(`${name} does not show the newest results of bench/results: npm run bench:table`);
    process.exitCode = 1;
  }
}
