/*
 * A trace as text: tables, and pictures made of characters.
 */
import type { Explanation, Ref, Term } from "../trace/explain.ts";
import { SOURCE_FILE } from "../trace/export.ts";
import { LINES } from "../trace/forward.ts";
import type { TracedModel } from "../trace/model.ts";
import type { Stop, Tensor, TracedRun } from "../trace/run.ts";
import { nameOf, sentenceOf, stopOf, withNumbers } from "../trace/stops.ts";
import type { Why } from "../trace/why.ts";

/** A number in 9 columns or a little more. */
export const number = (value: number): string =>
  Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-4) ? value.toExponential(2) : value.toFixed(4);

const shapeText = (shape: readonly number[]) => shape.join(" × ");

/** A row for each stop: source line, name, shape, least, mean and greatest value, and the first ones. */
export function table(stops: readonly Stop[]): string {
  const rows = [["line", "run.c", "stop", "tensor", "min", "mean", "max", "first values"]];
  for (const stop of stops) {
    const source = [`${LINES[stop.id].line}`, `${stopOf(stop.id).runc}`, nameOf(stop)];
    if (stop.fused) rows.push([...source, "fused", "", "", "", ""]);
    for (const { name, shape, values } of stop.tensors) {
      const { min, mean, max } = summary(values);
      const first = [...values.subarray(0, 3)].map(number).join(" ");
      rows.push([...source, `${name} (${shapeText(shape)})`, ...[min, mean, max].map(number), first]);
    }
  }
  return columns(rows, [0, 1, 4, 5, 6]);
}

/** Rows in aligned columns; those in `right` are aligned to the right. */
export function columns(rows: readonly string[][], right: readonly number[]): string {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const cell = (text: string, i: number) => (right.includes(i) ? text.padStart(widths[i]) : text.padEnd(widths[i]));
  return rows.map((row) => `${row.map(cell).join("  ").trimEnd()}\n`).join("");
}

export function summary(values: Float32Array): { min: number; mean: number; max: number } {
  let [min, sum, max] = [Infinity, 0, -Infinity];
  for (const value of values) {
    min = Math.min(min, value);
    max = Math.max(max, value);
    sum += value;
  }
  return { min, mean: sum / values.length, max };
}

const SHADES = " .:oO@";

/** A picture made of characters: darker means larger, and signed values have their sign in front. */
export function heatMap(rows: { label: string; values: Float32Array }[], isShare: boolean): string {
  const all = rows.flatMap(({ values }) => [...values]);
  const most = isShare ? 1 : Math.max(...all.map(Math.abs), 1e-45);
  const shade = (value: number) => {
    const step = Math.min(SHADES.length - 1, Math.round((Math.abs(value) / most) * (SHADES.length - 1)));
    const letter = SHADES[step];
    if (!Number.isFinite(value)) return " !";
    return isShare ? letter + letter : step === 0 ? "  " : (value < 0 ? "-" : "+") + letter;
  };
  const width = Math.max(...rows.map(({ label }) => label.length));
  const lines = rows.map(({ label, values }) => `${label.padStart(width)} |${Array.from(values, shade).join("")}|\n`);
  const legend = isShare ? "0 to 1" : `0 to ${number(most)}, with its sign`;
  return `${lines.join("")}${" ".repeat(width)}  ${[...SHADES].join(" ")}  ${legend}\n`;
}

/** A tensor as a picture: a row for each head, or of 32 numbers if there are no heads. */
export function picture(stop: Stop, tensor: Tensor, model: TracedModel, run: TracedRun): string {
  const isAttention = tensor.name === "att";
  const size = model.config.dim / model.config.nHeads;
  const hasHeads = ["q", "k", "v", "rope", "mix"].includes(stop.id);
  const width = isAttention ? tensor.shape[1] : hasHeads ? size : 32;
  const word = isAttention || hasHeads ? (["k", "v"].includes(tensor.name) ? "key head " : "head ") : "";
  const rows = [];
  for (let at = 0; at < tensor.values.length; at += width) {
    rows.push({ label: `${word}${word ? at / width : at}`, values: tensor.values.subarray(at, at + width) });
  }
  const text = heatMap(rows, stop.id === "probs");
  return isAttention ? `${text}columns: ${tokenList(model, run, tensor.shape[1])}\n` : text;
}

/** The positions up to `count` with their tokens: "0 <s>, 1 Once". */
export function tokenList(model: TracedModel, run: TracedRun, count: number): string {
  return run.tokens
    .slice(0, count)
    .map((token, pos) => `${pos} ${model.label(token)}`)
    .join(", ");
}

/** The attention of one head at every position so far: a triangle. */
export function triangle(
  run: TracedRun,
  model: TracedModel,
  id: "scores" | "probs",
  layer: number,
  head: number,
): string {
  const rows = run.tokens.map((token, pos) => {
    const values = run.values(pos, { id, layer }).subarray(head * (pos + 1), (head + 1) * (pos + 1));
    return { label: `${pos} ${model.label(token)}`, values };
  });
  return heatMap(rows, id === "probs");
}

/** A stop as the debugger shows it. */
export function stopText(run: TracedRun, model: TracedModel, pos: number, index: number): string {
  const { stops, token } = run.at(pos);
  const stop = stops[index];
  const { name, runc, words } = stopOf(stop.id);
  const where = stop.layer < 0 ? "" : `layer ${stop.layer}, `;
  const lines = [
    `${where}${name} (${nameOf(stop)}), stop ${index + 1} of ${stops.length}, position ${pos} ${model.label(token)}`,
    `  ${SOURCE_FILE.split("/").at(-1)}:${LINES[stop.id].line}  ${LINES[stop.id].text}   run.c:${runc}`,
    `  ${sentenceOf(stop, model.config, pos)}`,
    "",
  ];
  for (const tensor of stop.tensors) {
    const { min, mean, max } = summary(tensor.values);
    lines.push(
      `${tensor.name} (${shapeText(tensor.shape)})  min ${number(min)}  mean ${number(mean)}  max ${number(max)}`,
    );
    lines.push(picture(stop, tensor, model, run).trimEnd(), "");
  }
  return `${[...lines, withNumbers(words, model.config)].join("\n")}\n`;
}

/** A value, and its largest terms. */
export function explanationText(
  { ref, value, formula, terms, exact, note, result }: Explanation,
  largest: readonly Term[],
): string {
  const shown = largest.slice(0, 5).map(({ value, factors }) => {
    const product = factors.map(({ name, value }) => `${name} ${number(value)}`).join(" × ");
    return `  ${number(value).padStart(10)} = ${product}`;
  });
  const sum = exact ? "to the last bit" : `${number(result)} by float32 terms${note ? `: ${note}` : ""}`;
  const lines = [
    `${refName(ref)} = ${value}`,
    `  ${SOURCE_FILE.split("/").at(-1)}:${LINES[ref.id].line}  ${formula}`,
    `  ${terms.length} term${terms.length === 1 ? "" : "s"}, ${sum}; the largest:`,
    ...shown,
  ];
  return `${lines.join("\n")}\n`;
}

/** "L2.q[5] at 3" */
export const refName = (ref: Ref): string =>
  `${nameOf(ref)}${ref.id === "rope" ? `.${ref.tensor}` : ""}[${ref.index}] at ${ref.pos}`;

/** The way down from a value, and the token it ends at. */
export function whyText(why: Why, model: TracedModel, run: TracedRun): string {
  let text = "";
  for (let each: Why | undefined = why; each; each = each.next) {
    text += explanationText(each, each.largest);
    const token = run.tokens[each.ref.pos];
    if (each.ref.id === "embed") text += `  the token ${token} ${model.label(token)} at position ${each.ref.pos}\n`;
  }
  return text;
}

/** The value of a stop with the largest magnitude. */
export function largestOf(run: TracedRun, pos: number, index: number): Ref {
  const { id, layer, tensors } = run.at(pos).stops[index];
  const [{ name, values }] = tensors;
  let best = 0;
  for (const [i, value] of values.entries()) if (Math.abs(value) > Math.abs(values[best])) best = i;
  return { id, layer, pos, tensor: name, index: best };
}
