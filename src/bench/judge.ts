/*
 * Decides whether a row counts: all its runs, and all rows of the same work, must generate the same tokens.
 */
import type { Sample } from "./engine.ts";

/** What a row produced: in the run whose logits were hashed, and in those that were timed. */
export interface RowOutput {
  name: string;
  exact: boolean;
  reference: Sample;
  samples: readonly Sample[];
  promptTokens: number;
}

/**
 * Why a row does not count: where it first differs. Undefined if it counts.
 * @param base another row of the same work, or this one
 */
export function whyNot(row: RowOutput, base: RowOutput): string | undefined {
  const { reference, samples, promptTokens } = row;
  for (const [run, { tokens }] of samples.entries()) {
    const at = firstDifference(tokens, reference.tokens);
    if (at !== undefined) return `run ${run + 1} generated other tokens than the run before it, from position ${at} on`;
  }
  if (base === row) return undefined;
  if (row.exact && base.exact) {
    const at = firstDifference(reference.rows ?? [], base.reference.rows ?? []);
    if (at !== undefined) return `its logits differ from those of ${base.name} at position ${promptTokens - 1 + at}`;
  }
  const at = firstDifference(reference.tokens, base.reference.tokens);
  if (at === undefined) return undefined;
  const [mine, theirs] = [reference.tokens[at], base.reference.tokens[at]];
  return `it generated other tokens than ${base.name} at position ${at}: token ${mine}, not ${theirs}`;
}

/** Compares only the length that both have, since a row may have been shortened. */
function firstDifference<T>(a: readonly T[], b: readonly T[]): number | undefined {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return i;
  return undefined;
}

/** The row that all rows of the same work are compared with: the reference if it is among them. */
export function baseOf(rows: readonly RowOutput[]): RowOutput {
  return rows.find(({ name }) => name.startsWith("ts")) ?? rows.find(({ exact }) => exact) ?? rows[0];
}
