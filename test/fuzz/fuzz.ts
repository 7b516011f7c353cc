/*
 * The fuzzer: damaged inputs, one after the other in this process. Each must give a printable Llama2Error or
 * something that works; never another error, and never much time or memory.
 *
 * Input k of a run with the seed s is the input of the seed s + k, so each can be made again alone.
 */
import { Llama2Error } from "../../src/errors.ts";
import { Dice } from "./dice.ts";

/** A format, and what is done with a file of it. */
export interface Target {
  name: string;
  /** The files of src/, without ending, whose lines should run. */
  files: readonly string[];
  /** A file, or the files of a folder: changed from good ones. */
  make(dice: Dice): Input;
  /**
   * Read all that the input says.
   * @throws Llama2Error where it is refused; anything else is a mistake of the reader
   */
  read(input: Input): Promise<void>;
}
export type Input = Readonly<Record<string, Uint8Array>>;

export interface Failure {
  seed: number;
  input: Input;
  why: string;
}

export interface Report {
  inputs: number;
  /** How many were read, and how many refused with each code. */
  outcomes: Record<string, number>;
  failures: Failure[];
  seconds: number;
  /** The slowest input. */
  slowest: { seed: number; ms: number };
  /** The largest resident size of the process, in bytes. */
  peakBytes: number;
}

export interface FuzzOptions {
  seed: number;
  /** Whichever comes first. */
  inputs?: number;
  minutes?: number;
  /** Called now and then. */
  onProgress?: (inputs: number) => void;
}

/** No input may take longer, nor the process more memory. */
const MAX_MS = 1000;
const MAX_BYTES = 2 ** 29;
/** More failures than these say nothing new. */
const MAX_FAILURES = 20;
/** The process looks at the clock, its memory and its caller after so many inputs. */
const STEP = 256;

/** Read many inputs of a format. */
export async function fuzz(target: Target, { seed, inputs, minutes, onProgress }: FuzzOptions): Promise<Report> {
  const most = inputs ?? (minutes === undefined ? 100_000 : Infinity);
  const start = performance.now();
  const end = minutes === undefined ? Infinity : start + minutes * 60_000;
  const stackTraceLimit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0; // most inputs end in an error, and its stack takes longer than the rest
  const report: Report = { inputs: 0, outcomes: {}, failures: [], seconds: 0, slowest: { seed, ms: 0 }, peakBytes: 0 };
  while (report.inputs < most && report.failures.length < MAX_FAILURES) {
    const own = seed + report.inputs++;
    const input = target.make(new Dice(own));
    const { outcome, why, ms } = await attempt(target, input);
    report.outcomes[outcome] = (report.outcomes[outcome] ?? 0) + 1;
    if (ms > report.slowest.ms) report.slowest = { seed: own, ms };
    if (why) report.failures.push({ seed: own, input, why });
    if (report.inputs % STEP !== 0) continue;
    const bytes = process.memoryUsage.rss();
    if (bytes > MAX_BYTES && report.peakBytes <= MAX_BYTES) {
      report.failures.push({
        seed: own,
        input,
        why: `the process takes ${bytes} bytes, expected at most ${MAX_BYTES}`,
      });
    }
    report.peakBytes = Math.max(report.peakBytes, bytes);
    onProgress?.(report.inputs);
    if (performance.now() > end) break;
  }
  Error.stackTraceLimit = stackTraceLimit;
  report.seconds = (performance.now() - start) / 1000;
  report.peakBytes = Math.max(report.peakBytes, process.memoryUsage.rss());
  return report;
}

interface Attempt {
  outcome: string;
  /** What is wrong with the reader. */
  why?: string;
  ms: number;
}

async function attempt(target: Target, input: Input): Promise<Attempt> {
  const first = await once(target, input);
  if (first.outcome === "untyped") {
    Error.stackTraceLimit = 20;
    const again = await once(target, input);
    Error.stackTraceLimit = 0;
    return again;
  }
  if (first.ms < 100) return first;
  // the machine may have done something else meanwhile
  const second = await once(target, input);
  const ms = Math.min(first.ms, second.ms);
  return ms > MAX_MS && !first.why ? { outcome: "slow", why: `it took ${ms.toFixed(0)} ms`, ms } : { ...first, ms };
}

async function once(target: Target, input: Input): Promise<Attempt> {
  const start = performance.now();
  try {
    await target.read(input);
    return { outcome: "read", ms: performance.now() - start };
  } catch (error) {
    const ms = performance.now() - start;
    if (!(error instanceof Llama2Error)) {
      return { outcome: "untyped", why: error instanceof Error ? (error.stack ?? error.message) : String(error), ms };
    }
    const cannotBePrinted = unprintable(error.message);
    return { outcome: error.code, why: cannotBePrinted, ms };
  }
}

/** Control characters in a message, or one too long to read. */
function unprintable(message: string): string | undefined {
  if (message.length > 2000) return `the message has ${message.length} characters`;
  return /[\p{Cc}\p{Cs}\u2028\u2029]/u.test(message)
    ? `the message has control characters: ${JSON.stringify(message)}`
    : undefined;
}
