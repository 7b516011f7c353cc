/*
 * npm run bench:table: puts the newest full result of bench/results into the README, between its two markers. With
 * --check it changes nothing, and fails if they disagree.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../scripts/fingerprint.mjs";
import { tableOf } from "./report.mjs";

const START = "<!-- bench -->\n";
const END = "<!-- /bench -->";

/** The newest result of everything, if there is one. */
function newestResult(folder) {
  return readdirSync(folder)
    .filter((name) => /^models-.*\.json$/.test(name))
    .map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")))
    .filter(({ only }) => only === null)
    .sort((a, b) => a.date.localeCompare(b.date))
    .at(-1);
}

/** The README with the table in its place. */
function withTable(readme, table) {
  const start = readme.indexOf(START);
  const end = readme.indexOf(END);
  if (start < 0 || end < start) throw new Error(`README.md has no lines ${START.trim()} and ${END}`);
  return readme.slice(0, start + START.length) + table + readme.slice(end);
}

const path = join(root, "README.md");
const readme = readFileSync(path, "utf8");
const result = newestResult(join(root, "bench", "results"));
const wanted = withTable(readme, result ? `\n${tableOf(result)}\n` : "");
if (!process.argv.includes("--check")) {
  writeFileSync(path, wanted);
} else if (readme !== wanted) {
  console.error("README.md does not show the newest result of bench/results: npm run bench:table");
  process.exitCode = 1;
}
