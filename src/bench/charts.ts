/*
 * The report's charts as SVG, drawn here so that the page needs no script. The package has the plotting library in a file of
 * its own (scripts/build-node.mjs).
 */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import type { Row } from "./result.ts";

export interface Chart {
  title: string;
  /** What it shows, in words. */
  caption: string;
  svg: string;
}

const WIDTH = 640;
const BAR = 26;

/** Colours of the page's style sheet, for light and dark. */
const COLORS: Record<string, string> = { fp32: "var(--a)", fp16: "var(--b)", int8: "var(--c)" };
const colorOf = (row: Row): string => (row.counts ? (COLORS[row.precision] ?? "var(--a)") : "var(--dim)");

const engineOf = ({ backend, precision, threads }: Row): string =>
  [backend, precision, ...(threads === undefined ? [] : [`${threads} thr`])].join(" ");

/** The charts that these rows of one model have data for. */
export function chartsOf(rows: readonly Row[]): Chart[] {
  const stories = rows.filter(({ test, batch }) => test.startsWith("tg") && batch === 1);
  const prompts = rows.filter(({ test }) => test.startsWith("pp"));
  return [
    bars("New tokens a second", "Greedy, one sequence: the median, and from the least to the largest run.", stories),
    bars("Prompt tokens a second", "Read in passes of many tokens.", prompts),
    limit(stories.filter(({ percentOfBandwidth }) => percentOfBandwidth !== undefined)),
    lines("More threads", "New tokens a second by threads.", "threads", stories),
    lines("More sequences at once", "New tokens a second of all together.", "sequences", rows.filter(isStory)),
    positions(stories.filter(({ first32, last32 }) => first32 !== undefined && last32 !== undefined)),
  ].filter((chart) => chart !== undefined);
}

const isStory = ({ test }: Row) => test.startsWith("tg");

function draw(title: string, caption: string, options: Plot.PlotOptions): Chart {
  const { document } = parseHTML("<html><body></body></html>");
  const plot = Plot.plot({ width: WIDTH, style: { background: "none", fontSize: "12px" }, ...options, document });
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", title);
  if (!plot.hasAttribute("xmlns")) plot.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return { title, caption, svg: plot.outerHTML };
}

const digits = (value: number) => value.toPrecision(3).replace(/\.?0*(e.*)?$/, (_, e = "") => e);
const short = (value: number) => (value >= 100 ? value.toFixed(0) : digits(value));

function bars(title: string, caption: string, rows: readonly Row[]): Chart | undefined {
  if (rows.length === 0) return undefined;
  const data = rows.map((row) => ({ engine: engineOf(row), fill: colorOf(row), ...row.tokensPerSecond }));
  return draw(title, caption, {
    height: 60 + BAR * new Set(data.map(({ engine }) => engine)).size,
    marginLeft: 110,
    marginRight: 60,
    x: { label: "tok/s", grid: true, zero: true },
    y: { label: null, domain: data.map(({ engine }) => engine) },
    marks: [
      Plot.barX(data, { x: "median", y: "engine", fill: "fill" }),
      Plot.ruleY(data, { x1: "min", x2: "max", y: "engine", stroke: "currentColor", strokeOpacity: 0.6 }),
      Plot.text(data, { x: "max", y: "engine", text: ({ median }) => short(median), dx: 6, textAnchor: "start" }),
      Plot.ruleX([0]),
    ],
  });
}

function limit(rows: readonly Row[]): Chart | undefined {
  if (rows.length === 0) return undefined;
  const data = rows.map((row) => ({ engine: engineOf(row), fill: colorOf(row), percent: row.percentOfBandwidth ?? 0 }));
  return draw(
    "Share of the memory's bandwidth",
    "Bytes a token reads times tok/s, beside a sweep over as many bytes.",
    {
      height: 60 + BAR * data.length,
      marginLeft: 110,
      marginRight: 60,
      x: { label: null, grid: true, domain: [0, Math.max(100, ...data.map(({ percent }) => percent))] },
      y: { label: null, domain: data.map(({ engine }) => engine) },
      marks: [
        Plot.barX(data, { x: "percent", y: "engine", fill: "fill" }),
        Plot.text(data, {
          x: "percent",
          y: "engine",
          text: ({ percent }) => `${percent.toFixed(0)} %`,
          dx: 6,
          textAnchor: "start",
        }),
        Plot.ruleX([0, 100]),
      ],
    },
  );
}

/** Speed by threads, or by sequences at once, where at least two sizes were measured. */
function lines(title: string, caption: string, by: "threads" | "sequences", rows: readonly Row[]): Chart | undefined {
  const data = rows.flatMap((row) => {
    const size = by === "threads" ? row.threads : row.batch;
    const others = by === "threads" ? `${row.backend} ${row.precision}` : engineOf(row);
    return size === undefined ? [] : [{ line: others, size, fill: colorOf(row), median: row.tokensPerSecond.median }];
  });
  const sizesOf = (line: string) => new Set(data.filter((one) => one.line === line).map(({ size }) => size)).size;
  const several = data.filter(({ line }) => sizesOf(line) > 1);
  if (several.length === 0) return undefined;
  const largest = Math.max(...several.map(({ size }) => size));
  const ends = several.filter(({ line, size }) => {
    return size === Math.max(...several.filter((one) => one.line === line).map((one) => one.size));
  });
  return draw(title, caption, {
    height: 260,
    marginLeft: 60,
    marginRight: 120,
    x: {
      label: by,
      type: "log",
      base: 2,
      domain: [1, largest],
      ticks: [...new Set(several.map(({ size }) => size))],
      tickFormat: "d",
    },
    y: { label: "tok/s", grid: true, zero: true },
    marks: [
      Plot.line(several, { x: "size", y: "median", z: "line", stroke: "fill", strokeWidth: 2 }),
      Plot.dot(several, { x: "size", y: "median", fill: "fill", r: 3.5 }),
      Plot.text(ends, { x: "size", y: "median", text: "line", dx: 8, textAnchor: "start" }),
    ],
  });
}

/** The speed of the first and the last 32 positions: what a longer sequence costs. */
function positions(rows: readonly Row[]): Chart | undefined {
  if (rows.length === 0) return undefined;
  const data = rows.flatMap((row) => [
    { engine: engineOf(row), where: "first 32", value: row.first32 ?? 0, fill: colorOf(row) },
    { engine: engineOf(row), where: "last 32", value: row.last32 ?? 0, fill: colorOf(row) },
  ]);
  return draw("The first and the last 32 positions", "Tokens a second: keys and values grow with the story.", {
    height: 60 + BAR * rows.length,
    marginLeft: 110,
    marginRight: 60,
    x: { label: "tok/s", grid: true, zero: true },
    y: { label: null, domain: rows.map(engineOf) },
    marks: [
      Plot.ruleY(rows, {
        x1: (row) => row.first32,
        x2: (row) => row.last32,
        y: engineOf,
        stroke: "currentColor",
        strokeOpacity: 0.5,
      }),
      Plot.dot(data, {
        x: "value",
        y: "engine",
        stroke: "fill",
        fill: ({ where, fill }) => (where === "first 32" ? fill : "var(--paper)"),
        r: 5,
        strokeWidth: 2,
      }),
      Plot.ruleX([0]),
    ],
  });
}
