/*
 * npm run fuzz -- FORMAT [--inputs N | --minutes M] [--seed S] [--json] [--missed] [--add FILE]
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { Coverage, type FileCoverage } from "./coverage.ts";
import { fuzz, type Report } from "./fuzz.ts";
import { add } from "./sum.ts";

// before what is counted is imported
const coverage = new Coverage();
const { TARGETS } = await import("./formats/index.ts");

/** What was asked for; undefined if it makes no sense. */
function asked() {
  try {
    const { positionals, values } = parseArgs({
      allowPositionals: true,
      options: {
        inputs: { type: "string" },
        minutes: { type: "string" },
        seed: { type: "string" },
        json: { type: "boolean" },
        missed: { type: "boolean" },
        add: { type: "string" },
      },
    });
    const target = TARGETS.find(({ name }) => name === positionals[0]);
    const numbers = [values.inputs, values.minutes, values.seed];
    const areRight = numbers.every((n) => n === undefined || Number(n) >= 0);
    return target && positionals.length === 1 && areRight ? { target, values } : undefined;
  } catch {
    return undefined; // an option that there is not
  }
}

const wanted = asked();
const names = TARGETS.map(({ name }) => name);
if (!wanted) {
  console.error(`usage: npm run fuzz -- FORMAT [--inputs N | --minutes M] [--seed S] [--json] [--missed] [--add FILE]`);
  console.error(`FORMAT: ${names.join(", ")}`);
  process.exit(2);
}

const { target, values } = wanted;
const seed = values.seed === undefined ? Date.now() : Number(values.seed);
const report = await fuzz(target, {
  seed,
  inputs: values.inputs === undefined ? undefined : Number(values.inputs),
  minutes: values.minutes === undefined ? undefined : Number(values.minutes),
  onProgress: process.stderr.isTTY ? (inputs) => process.stderr.write(`\r${target.name}: ${inputs} inputs`) : undefined,
});
if (process.stderr.isTTY) process.stderr.write("\n");
const covered = coverage.take(target.files.map((file) => `${file}.js`));
for (const failure of report.failures) save(failure);
if (values.json) console.log(JSON.stringify(asJson(report)));
else print(report);
if (values.add) add(values.add, { format: target.name, seed, linesCoveredPercent: percent(covered), ...report });
process.exitCode = report.failures.length > 0 ? 1 : 0;

/** A failing input as files, and how it is made again. */
function save({ seed, input, why }: Report["failures"][number]): void {
  const folder = join("build", "fuzz", `${target.name}-${seed}`);
  for (const [file, bytes] of Object.entries(input)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), bytes);
  }
  console.error(`${folder}: ${why}\n  again: npm run fuzz -- ${target.name} --inputs 1 --seed ${seed}`);
}

function percent(files: readonly FileCoverage[]): number {
  const lines = files.reduce((sum, file) => sum + file.lines, 0);
  const missed = files.reduce((sum, file) => sum + file.missed.length, 0);
  return Math.round((1000 * (lines - missed)) / lines) / 10;
}

function asJson({ inputs, outcomes, failures, seconds, slowest, peakBytes }: Report): object {
  const rate = Math.round(inputs / seconds);
  return {
    format: target.name,
    seed,
    inputs,
    inputsPerSecond: rate,
    outcomes,
    failures: failures.length,
    linesCoveredPercent: percent(covered),
    slowestMs: Math.round(slowest.ms * 10) / 10,
    slowestSeed: slowest.seed,
    peakBytes,
  };
}

function print({ inputs, outcomes, failures, seconds, slowest, peakBytes }: Report): void {
  const list = Object.entries(outcomes).map(([outcome, count]) => `${count} ${outcome}`);
  console.log(`${target.name}: ${inputs} inputs from seed ${seed}, ${Math.round(inputs / seconds)} a second`);
  console.log(`  outcomes: ${list.join(", ")}; failures: ${failures.length}`);
  console.log(
    `  slowest: ${slowest.ms.toFixed(1)} ms (seed ${slowest.seed}); memory: ${(peakBytes / 2 ** 20).toFixed(0)} MiB`,
  );
  console.log(`  lines that ran: ${percent(covered)} %`);
  for (const file of covered) {
    const missed = values.missed && file.missed.length > 0 ? `; not dist/${file.file}:${file.missed.join(",")}` : "";
    console.log(`    ${file.file}: ${file.lines - file.missed.length} of ${file.lines}${missed}`);
  }
}
