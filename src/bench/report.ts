/*
 * A measurement as one page: tables and charts, no script, nothing fetched. It has a light, a dark and a print style.
 */
import { OutputFile, writeWhole } from "../files/outputFile.ts";
import type { Chart } from "./charts.ts";
import { machineLine, number, remarksOf, spreadPercent } from "./format.ts";
import type { BenchResult, Row } from "./result.ts";

/** The page of a measurement. */
export async function reportOf(result: BenchResult): Promise<string> {
  const { chartsOf } = await import("./charts.ts"); // the plotting library is large
  const models = [...new Set(result.rows.map(({ model }) => model))];
  const sections = models.map((model) => {
    const rows = result.rows.filter((row) => row.model === model);
    return `<section>\n<h2>${escaped(model)}</h2>\n${tableOf(rows)}\n${chartsOf(rows).map(figureOf).join("\n")}\n</section>`;
  });
  const remarks = remarksOf(result).map((line) => `<li>${escaped(line)}</li>`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>llama2 bench, ${escaped(result.date.slice(0, 10))}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<header>
<h1>llama2 bench</h1>
<p>${escaped(machineLine(result))}</p>
<p>${escaped(result.date)}</p>
</header>
${sections.join("\n")}
${remarks.length > 0 ? `<section>\n<h2>Remarks</h2>\n<ul>${remarks.join("\n")}</ul>\n</section>` : ""}
<footer><p>Every row did the same work, in turn with all others: medians of ${runsOf(result)} runs after a warm-up. Tokens are
compared in every run, and on exact backends the bits of the logits.</p></footer>
</main>
</body>
</html>
`;
}

/**
 * Check that a file can be written, before a measurement is made for it.
 * @throws Llama2Error E_FILE
 */
export function checkCanWrite(path: string): void {
  new OutputFile(path).discard();
}

/**
 * Write the page of a measurement to a file, whole or not at all.
 * @throws Llama2Error E_FILE
 */
export async function writeReport(path: string, result: BenchResult): Promise<void> {
  writeWhole(path, await reportOf(result));
}

/**
 * Write a measurement with its receipts to a file, whole or not at all.
 * @throws Llama2Error E_FILE
 */
export function writeShared(path: string, result: BenchResult): void {
  writeWhole(path, `${JSON.stringify(result)}\n`);
}

const runsOf = ({ rows }: BenchResult) => Math.min(...rows.map(({ tokensPerSecond: { runs } }) => runs.length));

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => ENTITIES[character]);

const CELLS: readonly [head: string, of: (row: Row) => string][] = [
  ["test", ({ test, batch }) => (batch > 1 ? `${test} x${batch}` : test)],
  ["tok/s", (row) => `${number(row.tokensPerSecond.median)} <small>±${spreadPercent(row).toFixed(0)} %</small>`],
  ["vs ts", ({ speedupOverTs }) => (speedupOverTs === undefined ? "" : `${number(speedupOverTs)}x`)],
  ["GB/s", ({ gbPerSecond }) => (gbPerSecond === undefined ? "" : number(gbPerSecond))],
  ["limit", ({ percentOfBandwidth }) => (percentOfBandwidth === undefined ? "" : `${percentOfBandwidth.toFixed(0)} %`)],
  [
    "ahead",
    ({ lookahead: ahead }) => (ahead ? `${number(ahead.tokensPerSecond.on / ahead.tokensPerSecond.off)}x` : ""),
  ],
  ["load ms", ({ loadMs }) => (loadMs === undefined ? "" : loadMs.toFixed(0))],
  ["first token ms", ({ firstTokenMs }) => (firstTokenMs === undefined ? "" : number(firstTokenMs))],
  ["peak MB", ({ peakBytes }) => (peakBytes === undefined ? "" : (peakBytes / 1e6).toFixed(0))],
];

function tableOf(rows: readonly Row[]): string {
  const head = ["engine", ...CELLS.map(([name]) => name)].map((name) => `<th scope="col">${name}</th>`);
  const lines = rows.map((row) => {
    const engine = [row.backend, row.precision, ...(row.threads === undefined ? [] : [`${row.threads} thr`])].join(" ");
    const cells = CELLS.map(([, of]) => `<td>${of(row)}</td>`);
    const why = row.counts ? "" : ` class="out" title="${escaped(row.why ?? "")}"`;
    return `<tr${why}><th scope="row">${escaped(engine)}</th>${cells.join("")}</tr>`;
  });
  return `<div class="wide"><table>\n<thead><tr>${head.join("")}</tr></thead>\n<tbody>${lines.join("\n")}</tbody>\n</table></div>`;
}

function figureOf({ title, caption, svg }: Chart): string {
  const file = `${title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}.svg`;
  const data = `data:image/svg+xml;base64,${Buffer.from(standalone(svg)).toString("base64")}`;
  return `<figure>
<figcaption><strong>${escaped(title)}</strong> ${escaped(caption)} <a download="${file}" href="${data}">SVG</a></figcaption>
<div class="wide">${svg}</div>
</figure>`;
}

/** A chart as a file of its own: with the light colours instead of the page's variables. */
function standalone(svg: string): string {
  return svg.replace(/var\(--(\w+)\)/g, (all, name: string) => LIGHT[name] ?? all).replace(/currentColor/g, LIGHT.ink);
}

const LIGHT: Record<string, string> = {
  a: "#2f6db3",
  b: "#8a5a9e",
  c: "#b3562f",
  dim: "#b0b0a8",
  ink: "#1c1c1a",
  paper: "#fdfdfb",
};
const DARK: typeof LIGHT = {
  a: "#7fb2ea",
  b: "#c79bd9",
  c: "#ea9c7b",
  dim: "#66665f",
  ink: "#e8e8e3",
  paper: "#191917",
};
const variables = (colors: typeof LIGHT) =>
  Object.entries(colors)
    .map(([name, color]) => `--${name}:${color}`)
    .join(";");

const STYLE = `
:root{${variables(LIGHT)}}
@media (prefers-color-scheme: dark){:root{${variables(DARK)}}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:54rem;margin:0 auto;padding:1.5rem 1rem}
h1{font-size:1.6rem;margin:0}
h2{font-size:1.2rem;margin:2rem 0 .5rem}
header p,footer p{margin:.2rem 0;font-size:.9rem;opacity:.8}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:.25rem .5rem;text-align:right;white-space:nowrap;border-bottom:1px solid color-mix(in srgb,var(--ink) 15%,transparent)}
th[scope=row],thead th:first-child,td:nth-child(2),thead th:nth-child(2){text-align:left;font-weight:400}
thead th{font-weight:600}
small{opacity:.7}
.out{color:var(--dim);text-decoration:line-through}
figure{margin:1.5rem 0}
figcaption{font-size:.9rem}
svg{max-width:100%;height:auto;color:var(--ink)}
a{color:var(--a)}
@media print{:root{${variables(LIGHT)};--paper:#fff} figure,tr{break-inside:avoid} h2{break-after:avoid} a[download]{display:none}
.wide{overflow:visible} table{font-size:.7rem} th,td{padding:.1rem .3rem} main{max-width:none;padding:0}}
`;
