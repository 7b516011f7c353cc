/*
 * Figures as text.
 */
import { ROWS } from "./figures.mjs";

const number = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
const spread = ({ median, min, max }, text = number) => `${text(median)} (${text(min)} to ${text(max)})`;
const percent = (value) => `${(100 * value).toFixed(0)} %`;

/** A processor's name, with what distinguishes its generation; older results do not say the instruction set. */
export const processorOf = ({ cpu, family, isa }) => `${cpu} (family ${[family, isa].filter(Boolean).join(", ")})`;

/** The target of a figure. */
function targetText(target) {
  if (!target) return "";
  if (target.atMost !== undefined) return `<= ${target.atMost}`;
  return target.ofSweep === undefined
    ? `>= ${target.atLeast}`
    : `>= ${target.atLeast} or ${percent(target.ofSweep)} of memory`;
}

/** "met", "missed", or why it does not count. */
function verdict({ counts, why, met }) {
  if (!counts) return `does not count: ${why}`;
  return met === null ? "" : met ? "met" : "MISSED";
}

/** A figure on the terminal. */
export function lineOf(figure) {
  const { what, model, unit, ours, against, ratio, target, memory } = figure;
  const bytes = memory && `${number(memory.gbPerSecond.median)} GB/s, ${percent(memory.ofSweep.median)} of a sweep`;
  const aim = [targetText(target), verdict(figure)].filter(Boolean).join(" ");
  const parts = [`${spread(ours)} ${unit}`, `${spread(ratio)} x ${against}`, aim, bytes];
  return `${what}, ${model}: ${parts.filter(Boolean).join("; ")}`;
}

/** The names of reference engines in the README. */
const AGAINST = {
  "run 1": "run",
  "runfast 1": "runfast",
  "runq 1": "runq, 1 thread",
  "runq 2": "runq, 2 threads",
  "runomp 2": "runomp, 2 threads",
  "cpu 1": "our float32",
  "cpu 2": "our float32",
  "one at a time": "one at a time",
  "load run": "run",
};

/** A figure in the table: the ratio, and our speed. */
function cellOf(figure) {
  if (!figure) return "";
  const { ratio, ours, unit, counts } = figure;
  if (!counts) return `does not count, ${number(ours.median)} ${unit}`;
  return `**${number(ratio.median)} x**, ${number(ours.median)} ${unit}`;
}

/**
 * A result file as a Markdown table, a line for each thing that was measured and a column for each model. Targets stay in
 * the file: readers want results.
 */
export function tableOf({ date, commit, machine, node, references, command, rounds, figures }) {
  const models = [...new Set(figures.map(({ model }) => model))];
  const lines = new Map();
  // without a target, a figure that does not count is left to those who read the file
  for (const figure of figures.filter(({ counts, target }) => counts || target)) {
    const key = `${figure.what} | ${AGAINST[figure.against]}`;
    lines.set(key, [...(lines.get(key) ?? []), figure]);
  }
  const placeOf = ([, [{ row, threads }]]) => ROWS.indexOf(row) + threads / 10;
  const rows = [...lines]
    .sort((a, b) => placeOf(a) - placeOf(b))
    .map(([key, mine]) => {
      const cells = models.map((model) => cellOf(mine.find((figure) => figure.model === model)));
      return `| ${[key, ...cells].join(" | ")} |`;
    });
  return `\
| what | against | ${models.join(" | ")} |
| --- | --- | ${models.map(() => "---").join(" | ")} |
${rows.join("\n")}

\`run\` is llama2.c's run.c built with \`gcc -O3\`, \`runfast\` with \`-Ofast -march=native\`, \`runomp\` with \`-Ofast -fopenmp
-march=native\`, \`runq\` its int8 program built like \`runomp\`. Greedy unless it says otherwise, the same tokens on both sides,
medians of ${rounds} interleaved runs. A load is measured without Node's own start.
Measured on ${date.slice(0, 10)} with ${processorOf(machine)}, ${machine.cores} cores, Node ${node}, commit ${(commit ?? "unknown").slice(0, 10)};
references: ${references}; \`${command}\`.
`;
}
