/*
 * A file that sums runs of the fuzzer, as bench/results/fuzz-DATE.json is one: an entry for each format, with the seeds
 * that were run. Input k of seed s is that of seed s + k, so two runs whose seeds overlap have inputs in common.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Report } from "./fuzz.ts";

/** What is known of a format after all its runs. */
export interface Sum {
  format: string;
  /** The first and the last seed of each run, in order. */
  seeds: [number, number][];
  inputs: number;
  read: number;
  refused: number;
  untyped: number;
  failures: number;
  slowestMs: number;
  peakBytes: number;
  /** Of the run that reached most. */
  linesCoveredPercent: number;
  inputsPerSecond: number;
}

export interface Run extends Omit<Report, "failures"> {
  format: string;
  seed: number;
  failures: readonly unknown[];
  linesCoveredPercent: number;
}

/**
 * What is known after this run as well.
 * @throws Error if some of its inputs were counted before
 */
export function sumOf(before: Sum | undefined, run: Run): Sum {
  const { format, seed, inputs, outcomes, slowest } = run;
  const last = seed + inputs - 1;
  const twice = before?.seeds.find(([from, to]) => seed <= to && last >= from);
  if (twice)
    throw new Error(`${format}: seeds ${seed} to ${last} overlap ${twice.join(" to ")}, which were run before`);
  const read = outcomes.read ?? 0;
  const untyped = outcomes.untyped ?? 0;
  const refused = inputs - read - untyped - (outcomes.slow ?? 0);
  const all = inputs + (before?.inputs ?? 0);
  const seconds = run.seconds + (before ? before.inputs / before.inputsPerSecond : 0);
  const seeds: [number, number][] = [...(before?.seeds ?? []), [seed, last]];
  return {
    format,
    seeds: joined(seeds.sort(([a], [b]) => a - b)),
    inputs: all,
    read: read + (before?.read ?? 0),
    refused: refused + (before?.refused ?? 0),
    untyped: untyped + (before?.untyped ?? 0),
    failures: run.failures.length + (before?.failures ?? 0),
    slowestMs: Math.max(Math.round(slowest.ms * 10) / 10, before?.slowestMs ?? 0),
    peakBytes: Math.max(run.peakBytes, before?.peakBytes ?? 0),
    linesCoveredPercent: Math.max(run.linesCoveredPercent, before?.linesCoveredPercent ?? 0),
    inputsPerSecond: Math.round(all / seconds),
  };
}

/** Runs that follow on each other are one. */
function joined(seeds: readonly [number, number][]): [number, number][] {
  const out: [number, number][] = [];
  for (const [from, to] of seeds) {
    const last = out.at(-1);
    if (last && last[1] + 1 === from) last[1] = to;
    else out.push([from, to]);
  }
  return out;
}

/** Add a run to a file, which is made if there is none. */
export function add(path: string, run: Run): void {
  const file = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : { node: process.version, formats: [] };
  const formats: Sum[] = file.formats;
  const at = formats.findIndex(({ format }) => format === run.format);
  const sum = sumOf(formats[at], run);
  if (at < 0) formats.push(sum);
  else formats[at] = sum;
  const date = new Date().toISOString().slice(0, 10);
  writeFileSync(path, `${JSON.stringify({ ...file, date }, null, 2)}\n`);
}
