/*
 * llama2 fit: whether a model fits, and where.
 */
import { type Fitting, fit as fitModel } from "../fit.ts";
import { print } from "./io.ts";
import { gigabytes, wrapped } from "./layout.ts";
import { withAdvice } from "./model.ts";

export interface FitFlags {
  shape?: string;
  memory?: number;
  context?: number;
  batch: number;
  bandwidth?: number;
  json?: boolean;
}

/** Print what a model needs and where it fits; the exit status is 1 if that is nowhere. */
export async function fit(
  model: string | undefined,
  { json, ...options }: FitFlags,
  signal: AbortSignal,
): Promise<void> {
  const found = await withAdvice(model, signal, (path) => fitModel(path, options));
  await print(json ? `${JSON.stringify(found)}\n` : `${linesOf(found).join("\n")}\n`);
  if (!found.places.some(({ fits }) => fits.some(({ fits }) => fits))) process.exitCode = 1;
}

function linesOf({ model, context, batch, needs, places, advice }: Fitting): string[] {
  const sequences = batch === 1 ? "one sequence" : `${batch} sequences`;
  const lines = [`${model.name}: ${count(model.parameters)} parameters`];
  lines.push(`at context ${context} and ${sequences} it needs`, "");
  lines.push(row("", "", ["weights", "a sequence", "the rest", "in all"]));
  const shown = needs.filter(({ backend }) => places.some((place) => place.backend === backend));
  for (const { backend, precision, weights, perSequence, scratch, total } of shown) {
    lines.push(row(backend, precision, [weights, perSequence, scratch, total].map(gigabytes)));
  }
  for (const { name, available, fits } of places) {
    lines.push("", `${name}: ${gigabytes(available)}`);
    for (const { precision, fits: does, maxContext, maxBatch, tokensPerSecond } of fits) {
      const speed = tokensPerSecond === undefined ? "" : `, at most ${tokensPerSecond.toFixed(0)} tok/s`;
      const yes = `yes: context up to ${maxContext}, or ${maxBatch} ${maxBatch === 1 ? "sequence" : "sequences"}${speed}`;
      const no = maxContext > 0 ? `no: context up to ${maxContext}` : "no";
      lines.push(`  ${precision}  ${does ? yes : no}`);
    }
  }
  lines.push("", ...advice.flatMap((text) => wrapped("", text)));
  return lines;
}

const row = (backend: string, precision: string, cells: readonly string[]) =>
  `  ${backend.padEnd(4)}  ${precision.padEnd(4)}${cells.map((cell) => cell.padStart(12)).join("")}`;

const count = (n: number) => (n >= 1e9 ? `${(n / 1e9).toFixed(2)} billion` : `${(n / 1e6).toFixed(2)} million`);
