/*
 * npm run bench: measures whole models, each figure in turn with what it is compared with. See bench/README.md.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { parseArgs } from "node:util";
import { findTokenizer } from "../dist/checkpoint/tokenizer/find.js";
import { root } from "../scripts/fingerprint.mjs";
import { quantize } from "./commands.mjs";
import { bytesPerToken, countPositions, engine, taskOf } from "./engines.mjs";
import { enginesOf, figuresOf, REFERENCES, ROWS, referenceOf } from "./figures.mjs";
import { judge } from "./judge.mjs";
import { commit, machine } from "./machine.mjs";
import { lineOf } from "./report.mjs";
import { interleave } from "./samples.mjs";

const USAGE = `usage: npm run bench -- --model NAME=CHECKPOINT ... [flags]

  --model NAME=CHECKPOINT    260K, 15M, 42M or 110M, and where it lies; several times
  --run, --runfast, --runomp, --runq PROGRAM
                             llama2.c's run.c built with gcc -O3; -Ofast -march=native; -Ofast -fopenmp -march=native;
                             and its runq.c built like runomp. What lacks its reference is not measured
  --references TEXT          how they were built: commit, compiler, flags
  --tokenizer FILE           for all models; default: for each the one that fits, as llama2 finds it
  --only ROWS                some of ${ROWS.join(",")}
  --rounds N                 samples of each that count, at least 5 (default)
  --out FILE                 default: bench/results/models-DATE.json
  -h, --help                 this`;

function options() {
  const text = { type: "string" };
  const flags = { model: { type: "string", multiple: true, default: [] }, references: text, tokenizer: text };
  const paths = Object.fromEntries(REFERENCES.map((name) => [name, text]));
  const more = { only: text, rounds: { type: "string", default: "5" }, out: text };
  const help = { type: "boolean", short: "h", default: false };
  const { values } = parseArgs({ options: { ...flags, ...paths, ...more, help } });
  if (values.help) return values;
  const only = values.only?.split(",");
  const unknown = only?.find((row) => !ROWS.includes(row));
  if (unknown !== undefined) throw new Error(`there is no row ${unknown}`);
  const rounds = Number(values.rounds);
  if (!(Number.isInteger(rounds) && rounds >= 5)) throw new Error("--rounds takes a whole number from 5 on");
  if (values.model.length === 0) throw new Error("there is no --model");
  const names = values.model.map((model) => model.split("=")[0]);
  if (names.every((name) => measurable(name, only, values).length === 0)) throw new Error(nothing(names, only));
  return { ...values, only, rounds };
}

/** The figures of a model whose rows are wanted, and whose reference programs are given. */
const measurable = (name, only, references) =>
  figuresOf(name).filter(({ row, against }) => {
    const reference = referenceOf(against);
    return (!only || only.includes(row)) && (!reference || references[reference] !== undefined);
  });

/** Why there is nothing to measure. */
function nothing(names, only) {
  const wanted = names.flatMap((name) => figuresOf(name)).filter(({ row }) => !only || only.includes(row));
  const missing = new Set(wanted.map(({ against }) => referenceOf(against)).filter(Boolean));
  const what = `${only ? `of ${only.join(", ")} ` : ""}with ${names.join(", ")}`;
  const need = [...missing].map((name) => `--${name}`).join(", ");
  return `there is nothing to measure ${what}${need && `: figures are measured against ${need}`}`;
}

/** A model's files, and how many bytes a token reads. */
async function openModel(text, tokenizer, folder) {
  const at = text.indexOf("=");
  if (at < 1) throw new Error(`--model ${text} is not NAME=CHECKPOINT`);
  const name = text.slice(0, at);
  const path = text.slice(at + 1);
  const int8Path = join(folder, `${name}-int8.bin`);
  quantize(path, int8Path);
  const { weights, ofPosition, vocabSize } = await bytesPerToken(path);
  return {
    name,
    path,
    int8Path,
    tokenizer: tokenizer ?? (await findTokenizer(path, vocabSize)).path,
    bytes: weights,
    int8Bytes: (await bytesPerToken(int8Path)).weights,
    ofPosition,
  };
}

/** Measure the figures of one group, in one interleaved run. */
function measureGroup(group, figures, model, { references, rounds }) {
  const task = taskOf(group, model);
  const names = enginesOf(figures, (reference) => references[reference] !== undefined);
  const setting = { model, task, references };
  const engines = new Map(names.map((name) => [name, engine(name, setting)]));
  const samples = interleave(engines, rounds, (round) => {
    process.stderr.write(`${model.name}, ${group}: ${round === 0 ? "warm-up" : `round ${round} of ${rounds}`}\n`);
  });
  const counts = ["decode", "slow"].includes(group);
  const positions = counts
    ? { float32: countPositions(task), int8: countPositions({ ...task, path: model.int8Path }) }
    : {};
  return figures.map((figure) =>
    judge(figure, samples, model, figure.row === "int8" ? positions.int8 : positions.float32),
  );
}

async function measure({ model: texts, tokenizer, only, rounds, references: built, out, ...paths }) {
  const references = Object.fromEntries(REFERENCES.map((name) => [name, paths[name]]));
  const start = performance.now();
  const folder = mkdtempSync(join(tmpdir(), "llama2-bench-"));
  const results = [];
  try {
    for (const text of texts) {
      const model = await openModel(text, tokenizer, folder);
      const figures = measurable(model.name, only, references);
      for (const group of new Set(figures.map(({ group }) => group))) {
        const mine = figures.filter((figure) => figure.group === group);
        for (const result of measureGroup(group, mine, model, { references, rounds })) {
          results.push(result);
          console.log(lineOf(result));
        }
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { minutes: (performance.now() - start) / 60_000, results };
}

/** The command, with names instead of this machine's paths. */
function commandOf(values) {
  const references = REFERENCES.filter((name) => values[name]).map((name) => `--${name} ${basename(values[name])}`);
  const models = values.model.map((text) => `--model ${text.split("=")[0]}=${basename(text)}`);
  const only = values.only ? [`--only ${values.only}`] : [];
  return ["npm run bench --", ...references, ...models, ...only, `--rounds ${values.rounds}`].join(" ");
}

async function main() {
  let values;
  try {
    values = options();
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`);
    process.exitCode = 2;
    return;
  }
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const date = new Date().toISOString();
  const about = {
    date,
    commit: commit(),
    machine,
    node: process.version,
    references: values.references ?? "not said",
    command: commandOf(values),
    only: values.only ?? null,
    rounds: values.rounds,
  };
  const { minutes, results } = await measure(values);
  const out = values.out ?? join(root, "bench", "results", `models-${date.slice(0, 19).replaceAll(":", "")}.json`);
  mkdirSync(join(root, "bench", "results"), { recursive: true });
  writeFileSync(
    out,
    `${JSON.stringify({ ...about, minutes: Number(minutes.toFixed(1)), figures: results }, null, 2)}\n`,
  );
  console.log(`${relative(process.cwd(), out)}, in ${minutes.toFixed(1)} minutes`);
}

await main();
