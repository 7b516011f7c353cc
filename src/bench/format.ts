/*
 * A measurement as a table for people, and as Markdown, CSV and JSON lines.
 */
import type { BenchFormat, BenchResult, Row } from "./result.ts";

/** The measurement in a format; ends with a newline. */
export function formatted(result: BenchResult, format: BenchFormat): string {
  switch (format) {
    case "json":
      return `${JSON.stringify(result)}\n`;
    case "jsonl":
      return result.rows.map((row) => `${JSON.stringify({ ...factsOf(result), ...row })}\n`).join("");
    case "csv":
      return csvOf(result);
    case "md":
      return markdownOf(result);
    default:
      return tableOf(result);
  }
}

/** The machine in one line, so that a pasted table is complete. */
export function machineLine({ machine, version, commit }: BenchResult): string {
  const { cpu, family, cores, quota, isa, memoryBytes, node, os } = machine;
  return [
    `${cpu}${family === undefined ? "" : ` (family ${family})`}`,
    `${cores} ${cores === 1 ? "core" : "cores"}${quota === undefined ? "" : ` (quota ${quota.toFixed(1)})`}`,
    isa,
    `${(memoryBytes / 1e9).toFixed(0)} GB`,
    os,
    `Node ${node.replace(/^v/, "")}`,
    `llama2.ts ${version}${commit === undefined ? "" : ` ${commit.slice(0, 10)}${commit.endsWith("+") ? "+" : ""}`}`,
  ].join(", ");
}

/** A number with three significant digits. */
export function number(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** Half the range of the runs, in per cent of the median. */
export function spreadPercent({ tokensPerSecond: { median, min, max } }: Row): number {
  return (50 * (max - min)) / median;
}

const testOf = ({ test, batch }: Row) => (batch > 1 ? `${test} x${batch}` : test);
const speedOf = (row: Row) => `${number(row.tokensPerSecond.median)} ±${spreadPercent(row).toFixed(0)} %`;
const megabytes = (bytes: number | undefined) => (bytes === undefined ? "" : (bytes / 1e6).toFixed(0));
const percent = (value: number | undefined) => (value === undefined ? "" : `${value.toFixed(0)} %`);
const times = (value: number | undefined) => (value === undefined ? "" : `${number(value)}x`);

const COLUMNS: readonly [head: string, of: (row: Row) => string][] = [
  ["backend", ({ backend }) => backend],
  ["", ({ precision }) => precision],
  ["thr", ({ threads }) => `${threads ?? ""}`],
  ["test", testOf],
  ["tok/s", speedOf],
  ["vs ts", ({ speedupOverTs }) => times(speedupOverTs)],
  ["GB/s", ({ gbPerSecond }) => (gbPerSecond === undefined ? "" : number(gbPerSecond))],
  ["limit", ({ percentOfBandwidth }) => percent(percentOfBandwidth)],
  ["ahead", ({ lookahead }) => times(lookahead && lookahead.tokensPerSecond.on / lookahead.tokensPerSecond.off)],
  ["peak MB", ({ peakBytes }) => megabytes(peakBytes)],
  ["", ({ counts }) => (counts ? "" : "!")],
];

/** For the terminal, at most 80 characters wide: a table for each model, then remarks. */
function tableOf(result: BenchResult): string {
  const lines: string[] = [];
  for (const model of new Set(result.rows.map((row) => row.model))) {
    const rows = result.rows.filter((row) => row.model === model);
    const cells = [COLUMNS.map(([head]) => head), ...rows.map((row) => COLUMNS.map(([, of]) => of(row)))];
    const used = COLUMNS.map((_, c) => cells.slice(1).some((line) => line[c] !== ""));
    const widths = COLUMNS.map((_, c) => Math.max(...cells.map((line) => line[c].length)));
    lines.push(model);
    for (const line of cells) {
      const shown = line.map((cell, c) => (c < 4 ? cell.padEnd(widths[c]) : cell.padStart(widths[c])));
      lines.push(`  ${shown.filter((_, c) => used[c]).join("  ")}`.trimEnd());
    }
    lines.push("");
  }
  return `${[...lines, ...remarksOf(result), machineLine(result)].join("\n")}\n`;
}

/** A line for each warning, each row that does not count, and everything that was skipped. */
export function remarksOf({ rows, warnings, skipped, interrupted }: BenchResult): string[] {
  return [
    ...(interrupted ? ["interrupted: this is what had been measured"] : []),
    ...rows.filter(({ counts }) => !counts).map((row) => `does not count: ${nameOf(row)}: ${row.why}`),
    ...warnings.map((warning) => `warning: ${warning}`),
    ...skipped.map(({ what, reason }) => `skipped: ${what}: ${reason}`),
  ];
}

/** A row in words. */
export const nameOf = (row: Row): string =>
  [row.model, row.backend, row.precision, ...(row.threads ? [`${row.threads} thr`] : []), testOf(row)].join(" ");

function markdownOf(result: BenchResult): string {
  const head = [
    "model",
    "backend",
    "precision",
    "threads",
    "test",
    "tok/s",
    "vs ts",
    "GB/s",
    "of the limit",
    "guessing ahead",
    "peak MB",
  ];
  const of = COLUMNS.slice(0, 10).map(([, of]) => of);
  const lines = result.rows.map((row) => {
    const cells = [row.model, ...of.map((cell) => cell(row))];
    return `| ${cells.join(" | ")} |${row.counts ? "" : ` does not count: ${row.why}`}`;
  });
  const rule = head.map(() => "---");
  const table = [`| ${head.join(" | ")} |`, `| ${rule.join(" | ")} |`, ...lines].join("\n");
  const { skipped: _, ...rest } = result;
  const remarks = remarksOf({ ...rest, skipped: [] }).map((line) => `${line}  \n`);
  return `${table}\n\n${remarks.join("")}${machineLine(result)}\n`;
}

/** The facts repeated in every line, so that each can be understood alone. */
function factsOf({ version, commit, date, machine }: BenchResult) {
  const { cpu, isa, cores, node, os } = machine;
  return { version, commit, date, cpu, isa, cores, node, os };
}

function csvOf(result: BenchResult): string {
  const lines = result.rows.map((row) => {
    const { tokensPerSecond, lookahead, ...plain } = row;
    const { median, min, max } = tokensPerSecond;
    return {
      ...factsOf(result),
      ...plain,
      medianTokensPerSecond: median,
      minTokensPerSecond: min,
      maxTokensPerSecond: max,
      aheadTokensPerSecond: lookahead?.tokensPerSecond.on,
      aheadTokensPerPass: lookahead?.tokensPerPass,
      aheadHitRate: lookahead?.hitRate,
    };
  });
  const names = [...new Set(lines.flatMap((line) => Object.keys(line)))];
  const cell = (value: unknown) => {
    const text = value === undefined ? "" : `${value}`;
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const all = [names, ...lines.map((line) => names.map((name) => line[name as keyof typeof line]))];
  return all.map((cells) => `${cells.map(cell).join(",")}\n`).join("");
}
