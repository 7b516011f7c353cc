/*
 * node bench/passes.mjs --model NAME=CHECKPOINT ...: the cost of a pass of several tokens, relative to a pass of one.
 *
 * The tokens are consecutive in one sequence, and the logits of all are wanted, as when guessed tokens are checked. Every
 * pass begins at the same position, which is read again. Samples are interleaved, and each cost is a ratio within its round.
 * Prints a table, and writes bench/results/passes-DATE.json.
 */
import { writeFileSync } from "node:fs";
import { basename, join, relative } from "node:path";
import { parseArgs } from "node:util";
import { openCpu } from "../dist/backend/cpu/cpu.js";
import { wasm } from "../dist/backend/wasm/wasm.js";
import { openFile } from "../dist/checkpoint/openFile.js";
import { root } from "../scripts/fingerprint.mjs";
import { commit, machine } from "./machine.mjs";
import { interleave, ratios, summary } from "./samples.mjs";

const COUNTS = [1, 2, 3, 4, 5, 6, 8, 12, 16];
const POSITION = 100;
const CONTEXT = POSITION + Math.max(...COUNTS);
const SAMPLE_MS = 5; // the least duration of a sample

const { values } = parseArgs({
  options: {
    model: { type: "string", multiple: true, default: [] },
    backends: { type: "string", default: "cpu,wasm" },
    threads: { type: "string", default: "1,2" },
    rounds: { type: "string", default: "9" },
    note: { type: "string" },
    out: { type: "string" },
  },
});
const rounds = Number(values.rounds);

/** `count` tokens from a position on; any tokens will do. */
const entriesFrom = (pos, count, vocabSize) =>
  Array.from({ length: count }, (_, i) => ({ token: (7 * (pos + i) + 3) % vocabSize, pos: pos + i, sequence: 0 }));

/** Milliseconds of a pass: the average of as many as take SAMPLE_MS. */
function timeOf(context, entries) {
  const start = performance.now();
  for (let passes = 1; ; passes++) {
    context.forward(entries, entries.length);
    const ms = performance.now() - start;
    if (ms >= SAMPLE_MS) return ms / passes;
  }
}

async function measure(backend, threads, source) {
  const model = await backend.load(source, CONTEXT, { threads });
  const context = model.openContext(1);
  const { vocabSize } = source.config;
  for (const entry of entriesFrom(0, POSITION, vocabSize)) context.forward([entry], 0);
  const counts = COUNTS.filter((count) => count <= model.maxBatch);
  const passes = new Map(
    counts.map((count) => {
      const entries = entriesFrom(POSITION, count, vocabSize);
      return [count, () => ({ value: timeOf(context, entries) })];
    }),
  );
  const samples = interleave(passes, rounds, () => {});
  context.dispose();
  model.dispose();
  const one = samples[1].values;
  const costs = Object.fromEntries(counts.map((count) => [count, summary(ratios(samples[count].values, one))]));
  return { passOfOneMs: summary(one), costs };
}

const fixed = (value) => value.toFixed(2).padStart(6);
const heading = ["model".padEnd(12), "backend".padEnd(8), "ms of 1", ...COUNTS.slice(1).map((k) => `${k}`.padStart(6))];
console.log(heading.join(" "));
const date = new Date().toISOString();
const figures = [];
for (const name of values.backends.split(",")) {
  const backend = name === "cpu" ? openCpu() : wasm;
  for (const text of values.model) {
    const [model, path] = text.split("=");
    for (const threads of values.threads.split(",").map(Number)) {
      const source = await openFile(path);
      const { passOfOneMs, costs } = await measure(backend, threads, source);
      source.close();
      figures.push({ model, backend: name, isa: backend.isa, threads, passOfOneMs, costs });
      const medians = Object.entries(costs).slice(1);
      const row = [model.padEnd(12), `${name} ${threads}`.padEnd(8), passOfOneMs.median.toFixed(3).padStart(7)];
      console.log([...row, ...medians.map(([, { median }]) => fixed(median))].join(" "));
    }
  }
}
const models = values.model.map((text) => `--model ${text.split("=")[0]}=${basename(text)}`).join(" ");
const command = `node bench/passes.mjs ${models} --backends ${values.backends} --threads ${values.threads} --rounds ${rounds}`;
const out = values.out ?? join(root, "bench", "results", `passes-${date.slice(0, 19).replaceAll(":", "")}.json`);
const about = { date, commit: commit(), machine, node: process.version, command, note: values.note };
const result = { ...about, position: POSITION, rounds, figures };
writeFileSync(out, `${JSON.stringify(result, null, 2)}\n`);
console.log(relative(process.cwd(), out));
