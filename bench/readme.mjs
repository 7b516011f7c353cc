/*
 * The README's tables: each is between two markers, and shows the newest result of its kind.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fuzzTableOf } from "./fuzz.mjs";
import { gpuTableOf } from "./gpu.mjs";
import { processorOf, tableOf } from "./report.mjs";

/** A marker, which result files count, and how the newest is shown; perhaps also what is said of the others. */
export const BLOCKS = [
  { marker: "bench", file: /^models-.*\.json$/, counts: ({ only }) => only === null, show: tableOf, others: othersOf },
  // not failed runs, rehearsals or parts of a run; a run that was stopped for time counts
  {
    marker: "gpu",
    file: /^gpu-.*\.json$/,
    counts: ({ status, emulated, sections }) =>
      ["ok", "incomplete"].includes(status) &&
      !emulated &&
      ["reference", "logits", "decode"].every((wanted) =>
        sections.some(({ name, status }) => name === wanted && status === "ok"),
      ),
    show: gpuTableOf,
  },
  { marker: "fuzz", file: /^fuzz-.*\.json$/, counts: ({ formats }) => formats.length > 0, show: fuzzTableOf },
];

/** The results in a folder that count, with the names of their files, the newest first. */
function resultsIn(folder, { file, counts }) {
  return readdirSync(folder)
    .filter((name) => file.test(name))
    .map((name) => ({ name, ...JSON.parse(readFileSync(join(folder, name), "utf8")) }))
    .filter(counts)
    .sort((a, b) => b.date.localeCompare(a.date));
}

/** The newest result in a folder that counts, if there is one. */
export const newestResult = (folder, block) => resultsIn(folder, block).at(0);

/** A line that links to the newest results of other processors, if there are any. */
function othersOf([newest, ...older]) {
  const seen = new Set([processorOf(newest.machine)]);
  const others = older.filter(({ machine }) => !seen.has(processorOf(machine)) && seen.add(processorOf(machine)));
  if (others.length === 0) return "";
  const links = others.map(
    ({ name, date, machine }) => `[${processorOf(machine)}, ${date.slice(0, 10)}](bench/results/${name})`,
  );
  return `Measured on other processors: ${links.join(", ")}.\n\n`;
}

/** The README with a table between its markers, or with nothing there. */
export function withTable(readme, marker, table) {
  const [start, end] = [`<!-- ${marker} -->\n`, `<!-- /${marker} -->`];
  const [from, to] = [readme.indexOf(start), readme.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`README.md has no lines ${start.trim()} and ${end}`);
  return readme.slice(0, from + start.length) + table + readme.slice(to);
}

/** The README with the newest of all results in `folder`. */
export function withTables(readme, folder) {
  return BLOCKS.reduce((text, block) => {
    const results = resultsIn(folder, block);
    const table = results.length > 0 ? `\n${block.show(results[0])}\n${block.others?.(results) ?? ""}` : "";
    return withTable(text, block.marker, table);
  }, readme);
}
