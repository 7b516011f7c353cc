/*
 * A result of npm run gpu:check as Markdown.
 */
const number = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
const speed = ({ median, ofCopy }) => `${number(median)} (${(100 * ofCopy).toFixed(0)} %)`;

/** The measurements of a section by name, without those that were skipped. */
function figuresOf(sections, section) {
  const results = sections.find(({ name }) => name === section)?.results ?? [];
  return new Map(results.filter(({ median }) => median !== undefined).map((result) => [result.what, result]));
}

/** Decoding: a line for each model and precision. */
function decodeTable(figures) {
  const models = new Set([...figures.keys()].map((what) => what.split(", ")[0]));
  const rows = [...models].map((model) => {
    const cell = (stretch, show) => {
      const figure = figures.get(`${model}, ${stretch}`);
      return figure ? show(figure) : "";
    };
    const cells = [
      cell("first 32", speed),
      cell("last 32", speed),
      cell("first 32", ({ expected }) => number(expected)),
      cell("256, drawn", ({ median }) => number(median)),
    ];
    return `| ${[model, ...cells].join(" | ")} |`;
  });
  const head = "| cuda, tok/s | first 32 positions | last 32 positions | from bytes and launches | 256, drawn |";
  return [head, "| --- | --- | --- | --- | --- |", ...rows].join("\n");
}

/** Other figures of interest: what, and how much. */
function listOf(figures, wanted) {
  return [...figures.values()]
    .filter(({ what }) => wanted.test(what))
    .map(({ what, median, unit }) => `${what}: ${number(median)} ${unit}`)
    .join("; ");
}

/** Sentences about the other measurements. */
function notes(sections) {
  const all = [
    ["Prefill", listOf(figuresOf(sections, "prefill"), /./)],
    ["Batches", listOf(figuresOf(sections, "batch"), /(1|32|512|1024) at once/)],
  ];
  return all.filter(([, list]) => list !== "").map(([title, list]) => `${title}: ${list}.`);
}

/** The table. It is only shown if all checks passed. */
export function gpuTableOf({ date, commit, device, card, build, command, sections }) {
  const copy = figuresOf(sections, "bandwidth").get("copy");
  const checks = sections.flatMap(({ results }) => results).filter(({ ok }) => ok === true).length;
  return `\
${decodeTable(figuresOf(sections, "decode"))}

${[...notes(sections), `In brackets: bytes a token times tok/s, as a share of what the card copies in the same run (${copy ? number(copy.median) : "?"} GB/s, bytes read and written).`].join("\n")}
Greedy where nothing else is said; medians; random weights of these shapes. ${checks} checks were right in the same run.
Measured on ${date.slice(0, 10)} with ${device.what}, driver ${card?.driver_version ?? device.driver}, ${build.compiler}, commit ${(commit ?? "unknown").slice(0, 10)}; \`${command}\`.
`;
}
