/*
 * Whether a row counts: every run of it, and every row of the same work, must have told the same.
 */
import type { Sample } from "./engine.ts";

/** What a row told: in the run whose logits were hashed, and in those that were timed. */
export interface Telling {
  name: string;
  exact: boolean;
  reference: Sample;
  samples: readonly Sample[];
  promptTokens: number;
}

/**
 * Why a row does not count, if so: where it first differs.
 * @param base another row of the same work, or this one
 */
export function whyNot(row: Telling, base: Telling): string | undefined {
  const { reference, samples, promptTokens } = row;
  for (const [run, { tokens }] of samples.entries()) {
    const at = firstDifference(tokens, reference.tokens);
    if (at !== undefined) return `run ${run + 1} told something else than the run before it, from position ${at} on`;
  }
  if (base === row) return undefined;
  if (row.exact && base.exact) {
    const at = firstDifference(reference.rows ?? [], base.reference.rows ?? []);
    if (at !== undefined) return `its logits differ from those of ${base.name} at position ${promptTokens - 1 + at}`;
  }
  const at = firstDifference(reference.tokens, base.reference.tokens);
  if (at === undefined) return undefined;
  const [mine, theirs] = [reference.tokens[at], base.reference.tokens[at]];
  return `it told something else than ${base.name} at position ${at}: token ${mine}, not ${theirs}`;
}

/** In as much as both have: a row may have been shortened. */
function firstDifference<T>(a: readonly T[], b: readonly T[]): number | undefined {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return i;
  return undefined;
}

/** Of rows of the same work: the one that all are held against, the reference where it is there. */
export function baseOf(rows: readonly Telling[]): Telling {
  return rows.find(({ name }) => name.startsWith("ts")) ?? rows.find(({ exact }) => exact) ?? rows[0];
}
