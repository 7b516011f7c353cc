/*
 * llama2 bench: how fast models are, on every backend.
 */
import { bench as measure } from "../bench/bench.ts";
import { compare, readResult } from "../bench/compare.ts";
import { listDevices } from "../bench/devices.ts";
import { formatted, number } from "../bench/format.ts";
import type { Effort } from "../bench/plan.ts";
import { checkCanWrite, writeReport, writeShared } from "../bench/report.ts";
import type { BenchFormat, BenchResult } from "../bench/result.ts";
import { Llama2Error } from "../errors.ts";
import { BUNDLED_MODEL } from "../loadModel.ts";
import type { BackendName, PRECISIONS } from "../loadOptions.ts";
import { endProgress, Interrupted, print, showProgress, tell } from "./io.ts";
import { gigabytes, wrapped } from "./layout.ts";
import { advised, findModel } from "./model.ts";

export interface BenchFlags {
  quick?: boolean;
  full?: boolean;
  shape?: string[];
  promptTokens?: number[];
  newTokens?: number[];
  runs: number;
  threads?: number[];
  backend?: BackendName[];
  precision?: (typeof PRECISIONS)[number][];
  batch?: number[];
  output: BenchFormat;
  against: string[];
  compare?: boolean;
  listDevices?: boolean;
  report?: string;
  share?: string;
}

/** Measure, and print; or compare two measurements; or list what could be measured. */
export async function bench(models: string[], flags: BenchFlags, signal: AbortSignal): Promise<void> {
  if (flags.listDevices) return printDevices();
  if (flags.compare) return compareFiles(models, flags.output);
  for (const path of [flags.report, flags.share]) if (path !== undefined) checkCanWrite(path);
  const effort: Effort = flags.quick ? "quick" : flags.full ? "full" : "normal";
  const result = await measured(models, effort, flags, signal);
  const text = formatted(withoutReceipts(result), flags.output);
  await print(flags.output === "table" && process.stdout.isTTY ? folded(text) : text);
  if (flags.report !== undefined) {
    await writeReport(flags.report, result);
    tell(`${flags.report}: a page with charts`);
  }
  if (flags.share !== undefined) {
    writeShared(flags.share, result);
    tell(`${flags.share}: the measurement with receipts, for llama2 verify`);
  }
  if (result.interrupted) throw new Interrupted();
  if (result.rows.length === 0 || result.rows.some(({ counts }) => !counts)) process.exitCode = 1;
}

/** On a terminal, long remarks break between words. The table's lines are indented, and short enough. */
function folded(text: string): string {
  const lines = text.split("\n").flatMap((line) => (line.startsWith("  ") ? [line] : wrapped("", line)));
  return lines.join("\n");
}

/** Receipts have all tokens of each row, and are only for the shared file. */
function withoutReceipts(result: BenchResult): BenchResult {
  return { ...result, rows: result.rows.map(({ receipt, ...row }) => row) };
}

async function measured(
  models: string[],
  effort: Effort,
  flags: BenchFlags,
  signal: AbortSignal,
): Promise<BenchResult> {
  const { shape: shapes = [], promptTokens, newTokens, runs, threads, against } = flags;
  const files = models.length + shapes.length === 0 ? [BUNDLED_MODEL] : [];
  for (const model of models) files.push(await findModel(model, signal)); // one after the other: it may ask the user
  const lists = { backends: flags.backend, precisions: flags.precision, batches: flags.batch, threads };
  try {
    return await measure({
      models: files,
      shapes,
      promptTokens,
      newTokens,
      runs,
      ...lists,
      effort,
      against,
      receipts: flags.share !== undefined,
      signal,
      onProgress: (done, what) => showProgress(bar(done, what)),
    });
  } catch (error) {
    if (!(error instanceof Llama2Error) || error.code !== "E_FILE" || models.length === 0) throw error;
    const missing = models.find((model) => error.message.includes(model));
    if (missing === undefined) throw error;
    throw await advised(error, missing);
  } finally {
    endProgress();
  }
}

const BAR = 20;

function bar(done: number, what: string): string {
  const full = Math.round(BAR * done);
  return `[${"=".repeat(full)}${" ".repeat(BAR - full)}] ${what}`.slice(0, (process.stderr.columns || 80) - 1);
}

/** Backends and GPUs, a line each. */
async function printDevices(): Promise<void> {
  const { backends, gpus } = await listDevices();
  const lines = [
    ...backends.map(({ name, isa }) => (isa === "none" ? name : `${name}: ${isa}`)),
    ...gpus.map(({ index, name, memoryBytes }) => {
      return `device ${index}: ${name}${memoryBytes === undefined ? "" : `, ${gigabytes(memoryBytes)}`}`;
    }),
  ];
  await print(`${lines.join("\n")}\n`);
}

async function compareFiles(paths: string[], format: BenchFormat): Promise<void> {
  if (paths.length !== 2) throw new Llama2Error("E_USAGE", "--compare takes two files that bench --json has written");
  const found = compare(readResult(paths[0]), readResult(paths[1]));
  if (format === "json") return print(`${JSON.stringify(found)}\n`);
  const width = Math.max(0, ...found.changes.map(({ what }) => what.length));
  const lines = found.changes.map(({ what, before, after, percent, beyondNoise }) => {
    const sign = percent < 0 ? "" : "+";
    const change = beyondNoise ? `${sign}${percent.toFixed(1)} %` : "within noise";
    return `${what.padEnd(width)}  ${number(before).padStart(7)} -> ${number(after).padStart(7)} tok/s  ${change}`;
  });
  const rest = [
    ...found.onlyBefore.map((what) => `only in ${paths[0]}: ${what}`),
    ...found.onlyAfter.map((what) => `only in ${paths[1]}: ${what}`),
    ...found.warnings.map((warning) => `warning: ${warning}`),
  ];
  await print([...lines, ...rest].map((line) => `${line}\n`).join(""));
}
