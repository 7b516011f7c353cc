/*
 * Compares two measurements: what has changed beyond noise.
 */
import { Llama2Error } from "../errors.ts";
import { readText } from "../files/text.ts";
import { nameOf } from "./format.ts";
import type { BenchResult, Row } from "./result.ts";

export interface Change {
  what: string;
  before: number; // tok/s
  after: number;
  /** Relative to `before`, in per cent. */
  percent: number;
  /** Whether all runs of one are faster than all of the other; otherwise the change may be noise. */
  beyondNoise: boolean;
}

export interface Comparison {
  changes: Change[];
  /** Rows that only one of them has. */
  onlyBefore: string[];
  onlyAfter: string[];
  /** Why the comparison may be unfair. */
  warnings: string[];
}

/** The largest file that is read; results are far smaller. */
const MAX_BYTES = 1 << 26;

/** Read a measurement from its JSON file. @throws Llama2Error E_FILE; E_FORMAT if it is not one */
export const readResult = (path: string): BenchResult => parseResult(readText(path, MAX_BYTES), path);

/**
 * Parse a measurement, which is untrusted: every field that is compared is checked.
 * @param name of its file, for messages
 * @throws Llama2Error E_FORMAT
 */
export function parseResult(json: Uint8Array, name: string): BenchResult {
  const refuse = (why: string): never => {
    throw new Llama2Error("E_FORMAT", `${name} is not a measurement of llama2 bench (--json): ${why}`);
  };
  let result: BenchResult;
  try {
    result = JSON.parse(Buffer.from(json).toString());
  } catch {
    return refuse("it is not JSON");
  }
  if (typeof result !== "object" || result === null || result.bench !== 1) return refuse('expected "bench": 1');
  if (!["string", "undefined"].includes(typeof result.machine?.cpu)) return refuse("its processor is no name");
  if (!Array.isArray(result.rows)) return refuse("it has no rows");
  if (!result.rows.every(hasName)) {
    return refuse("a row lacks its name: model, backend, precision, threads, batch, test");
  }
  if (!result.rows.every(hasSpeed)) return refuse("a row lacks its speed");
  return result;
}

/** Rows of other programs have no threads. */
function hasName(row: Row | null): boolean {
  if (row === null || typeof row !== "object") return false;
  const { model, backend, precision, threads, batch, test } = row;
  const isCount = (value: unknown) => value === undefined || (Number.isSafeInteger(value) && (value as number) > 0);
  return [model, backend, precision, test].every((text) => typeof text === "string") && [threads, batch].every(isCount);
}

function hasSpeed({ tokensPerSecond: speed }: Row): boolean {
  return [speed?.median, speed?.min, speed?.max].every((value) => Number.isFinite(value) && value > 0);
}

/** Compare the rows that both have, by name, in the order of `after`. */
export function compare(before: BenchResult, after: BenchResult): Comparison {
  const old = new Map(before.rows.map((row) => [nameOf(row), row]));
  const fresh = new Map(after.rows.map((row) => [nameOf(row), row]));
  const changes = [...fresh].flatMap(([what, row]): Change[] => {
    const other = old.get(what);
    if (!other) return [];
    const [a, b] = [other.tokensPerSecond, row.tokensPerSecond];
    const percent = 100 * (b.median / a.median - 1);
    return [{ what, before: a.median, after: b.median, percent, beyondNoise: b.min > a.max || b.max < a.min }];
  });
  const warnings: string[] = [];
  if (before.machine?.cpu !== after.machine?.cpu) {
    warnings.push(`different machines: ${before.machine?.cpu} and ${after.machine?.cpu}`);
  }
  return {
    changes,
    onlyBefore: [...old.keys()].filter((what) => !fresh.has(what)),
    onlyAfter: [...fresh.keys()].filter((what) => !old.has(what)),
    warnings,
  };
}
