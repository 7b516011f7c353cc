/*
 * npm run bench:table: puts the newest results of bench/results into the README, each between its two markers. With
 * --check it changes nothing, and fails if they disagree.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../scripts/fingerprint.mjs";
import { withTables } from "./readme.mjs";

const path = join(root, "README.md");
const readme = readFileSync(path, "utf8");
const wanted = withTables(readme, join(root, "bench", "results"));
if (!process.argv.includes("--check")) {
  writeFileSync(path, wanted);
} else if (readme !== wanted) {
  console.error("README.md does not show the newest results of bench/results: npm run bench:table");
  process.exitCode = 1;
}
