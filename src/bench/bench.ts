/*
 * llama2 bench as a function: the same work on every backend, in turn, again and again.
 */
import { checkFunction, checkOptions, checkSignal, checkWhole, usage } from "../check.ts";
import { findTokenizer } from "../checkpoint/tokenizer/find.ts";
import { encode } from "../encode.ts";
import { Llama2Error } from "../errors.ts";
import { packageCommit, packageVersion, thisMachine } from "../host/facts.ts";
import { thisWorld } from "../host/world.ts";
import { BOS, type Tokenizer } from "../llama2/tokenizer.ts";
import { hashModel } from "../modelHash.ts";
import { differenceOf, Program, type ProgramResult, textOf } from "./against.ts";
import { Conditions } from "./conditions.ts";
import { baseOf, whyNot } from "./judge.ts";
import { EFFORTS, LISTS, type Planned, type PlanOptions, planOf, type Subject } from "./plan.ts";
import { EngineProcess } from "./process.ts";
import { type BenchResult, type Row, spreadOf } from "./result.ts";
import { Sweeps } from "./sweeps.ts";
import { Track } from "./track.ts";

export interface BenchOptions extends PlanOptions {
  /** How often each test is run, after a warm-up. @default 5 */
  runs?: number;
  /** Commands of other programs to run in turn with ours, with placeholders {model} {prompt} {n} {seed}. */
  against?: readonly string[];
  /** How long another program may take, in milliseconds. @default two minutes */
  againstTimeoutMs?: number;
  /** Add a receipt, which `verify` can check, to rows of models from files on exact backends. @default false */
  receipts?: boolean;
  /** Ends it early; what has been measured is still returned. */
  signal?: AbortSignal;
  /** Called as it proceeds: how much is done, 0 to 1, and what is running. */
  onProgress?: (done: number, what: string) => void;
}

const OPTIONS: readonly (keyof BenchOptions)[] = [
  ...LISTS,
  "effort",
  "runs",
  "against",
  "againstTimeoutMs",
  "receipts",
  "signal",
  "onProgress",
];

/** The prompt if another program runs too. It is not empty, since greedy decoding from BOS alone may end at once. */
const PROMPT = "One day";

/**
 * Measure models on backends, each engine in a process of its own. Runs of all tests alternate, so that
 * a disturbance of the machine affects all of them.
 * @throws Llama2Error E_USAGE, E_FILE, E_FORMAT
 */
export async function bench(options: BenchOptions): Promise<BenchResult> {
  checkOptions("bench", options, OPTIONS);
  checkSignal(options.signal);
  checkFunction("onProgress", options.onProgress);
  checkWhole("runs", options.runs ?? 5, 1, 1000);
  const { against = [] } = options;
  if (!Array.isArray(against) || !against.every((command) => typeof command === "string")) {
    usage("against is a list of commands");
  }
  const programs = against.map((command) => new Program(command));
  const plan = await planOf(options);
  return new Bench(options, programs).measure(plan.engines, plan.skipped);
}

/** Another program's row while it is measured. */
interface Other {
  program: Program;
  subject: Subject;
  path: string;
  tokenizer: Tokenizer;
  start: readonly number[];
  newTokens: number;
  results: ProgramResult[];
  error?: string;
}

class Bench {
  private readonly options: BenchOptions;
  private readonly programs: readonly Program[];
  private readonly conditions = new Conditions(thisWorld);
  private readonly began = performance.now();
  private readonly skipped: BenchResult["skipped"] = [];
  private readonly rows: Row[] = [];
  private readonly tracks = new Map<Row, Track>();
  private readonly starts = new Map<Subject, { start: number[]; tokenizer?: Tokenizer }>();
  private readonly sweeps = new Sweeps();
  private isa = "none";
  private apart = false; // whether some engines did not fit into memory beside the others

  constructor(options: BenchOptions, programs: readonly Program[]) {
    this.options = options;
    this.programs = programs;
  }

  async measure(engines: readonly Planned[], skipped: BenchResult["skipped"]): Promise<BenchResult> {
    this.skipped.push(...skipped);
    let waiting = [...engines];
    while (waiting.length > 0 && !this.options.signal?.aborted) {
      const before = waiting.length;
      waiting = await this.measureTogether(waiting);
      this.apart ||= waiting.length > 0;
      if (waiting.length === before) break;
    }
    this.sweeps.end();
    const warnings = [...this.conditions.after(this.rows), ...this.sweeps.warnings()];
    if (this.apart) warnings.push("not all models fitted into memory at once: their runs did not alternate");
    return {
      bench: 1,
      version: packageVersion(),
      commit: packageCommit(),
      date: new Date().toISOString(),
      machine: thisMachine(this.isa),
      warnings,
      bandwidth: this.sweeps.bandwidth(),
      rows: withSpeedups(await this.withReceipts()),
      skipped: this.skipped,
      ...(this.options.signal?.aborted && { interrupted: true }),
    };
  }

  /** Measure the engines that fit into memory together. @returns those that did not */
  private async measureTogether(engines: readonly Planned[]): Promise<Planned[]> {
    const processes: EngineProcess[] = [];
    const later: Planned[] = [];
    const { signal } = this.options;
    const stop = () => {
      if (signal?.aborted) this.sweeps.end();
      for (const process of processes) process.end();
    };
    signal?.addEventListener("abort", stop);
    const tracks: Track[] = [];
    const others: Other[] = [];
    try {
      for (const planned of engines) {
        signal?.throwIfAborted();
        const process = await this.start(planned, processes.length > 0, later);
        if (!process) continue;
        processes.push(process);
        const { start } = await this.startOf(planned.subject);
        tracks.push(...planned.tests.map((test) => new Track(planned, test, process, start)));
      }
      const ready = await this.prepare(tracks);
      others.push(...(await this.others(engines.filter((planned) => !later.includes(planned)))));
      await this.alternate(ready, others);
      this.judge(ready, others);
    } catch (error) {
      if (!signal?.aborted) throw error;
      this.judge(tracks, others); // whether the rows so far count
    } finally {
      signal?.removeEventListener("abort", stop);
      stop();
    }
    return later;
  }

  /** @param beside whether other engines are in memory: then this one may fit once they are gone */
  private async start(planned: Planned, beside: boolean, later: Planned[]): Promise<EngineProcess | undefined> {
    const { subject, spec } = planned;
    const what = `${subject.name} ${spec.backend} ${spec.precision}, ${spec.threads} threads`;
    this.progress(0, `loading ${what}`);
    try {
      const process = await EngineProcess.start(spec);
      if (spec.backend !== "cuda")
        this.isa = spec.backend === "cpu" || this.isa === "none" ? process.info.isa : this.isa;
      return process;
    } catch (error) {
      if (!(error instanceof Llama2Error)) throw error;
      if (beside && ["E_LIMIT", "E_DEVICE_OOM"].includes(error.code)) later.push(planned);
      else this.skipped.push({ what, reason: error.message });
      return undefined;
    }
  }

  private async prepare(tracks: readonly Track[]): Promise<Track[]> {
    const ready: Track[] = [];
    const { runs = 5 } = this.options;
    for (const [i, track] of tracks.entries()) {
      this.progress((0.3 * i) / tracks.length, track.what);
      const left = this.budgetMs() - (performance.now() - this.began);
      // each test is run this often, and the tests to come run twice in preparation: to be timed and to be hashed
      const timed = (some: readonly Track[]) => some.reduce((sum, { weight }) => sum + weight * runs, 0);
      const samples = timed(ready) + timed(tracks.slice(i)) + 2 * (tracks.length - i);
      try {
        const reason = await track.prepare(Math.max(20, left / samples));
        if (reason === undefined) ready.push(track);
        else this.skipped.push({ what: track.what, reason });
      } catch (error) {
        if (!(error instanceof Llama2Error) || this.options.signal?.aborted) throw error;
        this.skipped.push({ what: track.what, reason: error.message });
      }
    }
    return ready;
  }

  private async alternate(tracks: readonly Track[], others: readonly Other[]): Promise<void> {
    const { runs = 5, signal } = this.options;
    for (let run = 0; run < runs; run++) {
      for (const [i, track] of tracks.entries()) {
        signal?.throwIfAborted();
        this.progress(0.3 + (0.7 * (run + i / tracks.length)) / runs, track.what);
        await track.run();
      }
      for (const sweep of this.sweeps.neededBy(tracks)) {
        signal?.throwIfAborted();
        this.progress(0.3 + (0.7 * (run + 0.9)) / runs, "reading memory");
        await this.sweeps.run(sweep, this.options.effort === "quick" ? 0.03 : 0.1);
      }
      for (const other of others) {
        signal?.throwIfAborted();
        if (other.error === undefined) await this.runOther(other);
      }
    }
  }

  private async runOther(other: Other): Promise<void> {
    const { program, subject, path, start, newTokens } = other;
    this.progress(0.9, `${subject.name} ${program.name}`);
    const { againstTimeoutMs = 120_000, signal } = this.options;
    try {
      const story = { model: path, prompt: PROMPT, n: start.length + newTokens - 1, seed: 1 };
      other.results.push(await program.run(story, againstTimeoutMs, signal));
    } catch (error) {
      if (!(error instanceof Llama2Error)) throw error;
      other.error = error.message;
      this.skipped.push({ what: `${subject.name} ${program.name}`, reason: error.message });
    }
  }

  /** The other programs' work: the longest generation measured here. */
  private async others(engines: readonly Planned[]): Promise<Other[]> {
    const others: Other[] = [];
    for (const subject of new Set(engines.map((planned) => planned.subject))) {
      const lengths = engines
        .filter((planned) => planned.subject === subject)
        .flatMap(({ tests }) => tests.filter(({ kind }) => kind === "tg").map(({ tokens }) => tokens));
      const { start, tokenizer } = await this.startOf(subject);
      for (const program of this.programs) {
        if (tokenizer && "path" in subject.model && lengths.length > 0) {
          const newTokens = Math.min(Math.max(...lengths), subject.config.seqLen + 1 - start.length);
          others.push({ program, subject, path: subject.model.path, tokenizer, start, newTokens, results: [] });
        } else {
          const reason =
            lengths.length === 0 ? "nothing is generated" : "another program needs a model's file and tokenizer";
          this.skipped.push({ what: `${subject.name} ${program.name}`, reason });
        }
      }
    }
    return others;
  }

  /** The tokens that every sequence of a model begins with. */
  private async startOf(subject: Subject): Promise<{ start: number[]; tokenizer?: Tokenizer }> {
    const known = this.starts.get(subject);
    if (known) return known;
    let found: { start: number[]; tokenizer?: Tokenizer } = { start: [BOS] };
    if (this.programs.length > 0 && "path" in subject.model) {
      try {
        const { tokenizer } = await findTokenizer(subject.model.path, subject.config.vocabSize);
        found = { start: encode(tokenizer, PROMPT, true, false), tokenizer };
      } catch (error) {
        if (!(error instanceof Llama2Error)) throw error;
      }
    }
    this.starts.set(subject, found);
    return found;
  }

  private judge(all: readonly Track[], others: readonly Other[]): void {
    const tracks = all.filter(({ hasRuns }) => hasRuns);
    const groups = new Map<string, Track[]>();
    for (const track of tracks) groups.set(track.key, [...(groups.get(track.key) ?? []), track]);
    for (const track of tracks) {
      const group = groups.get(track.key) ?? [];
      const outputs = group.map((one) => one.output());
      const mine = outputs[group.indexOf(track)];
      const row = track.row(whyNot(mine, baseOf(outputs)), this.sweeps.speed(track.sweep));
      this.rows.push(row);
      this.tracks.set(row, track);
    }
    for (const other of others) if (other.results.length > 0) this.rows.push(rowOf(other, tracks));
  }

  private async withReceipts(): Promise<Row[]> {
    if (!this.options.receipts) return this.rows;
    const hashes = new Map<Subject, string>();
    const rows: Row[] = [];
    for (const row of this.rows) {
      const track = this.tracks.get(row);
      const subject = track?.planned.subject;
      if (track && subject && "path" in subject.model) {
        const hash = hashes.get(subject) ?? (await hashModel(subject.model.path, undefined)).model;
        hashes.set(subject, hash);
        rows.push({ ...row, receipt: track.receipt(hash) });
      } else {
        rows.push(row);
      }
    }
    return rows;
  }

  private budgetMs(): number {
    return 1000 * EFFORTS[this.options.effort ?? "normal"];
  }

  private progress(done: number, what: string): void {
    this.options.onProgress?.(done, what);
  }
}

/** Another program's row. Its output is compared with the longest of ours. */
function rowOf({ program, subject, tokenizer, start, newTokens, results }: Other, tracks: readonly Track[]): Row {
  const tokensPerSecond = spreadOf(results.map((one) => one.tokensPerSecond));
  const ours = tracks
    .filter(({ planned, test }) => planned.subject === subject && test.kind === "tg" && test.batch === 1)
    .filter(({ planned }) => planned.spec.precision === (subject.isInt8 ? "int8" : "fp32"))
    .map(({ tokens }) => tokens)
    .sort((a, b) => b.length - a.length)[0];
  const why = ours
    ? results.map(({ text }) => differenceOf(textOf(tokenizer, ours), text)).find((one) => one !== undefined)
    : "no backend here generated the same text";
  return {
    model: subject.name,
    backend: program.name,
    precision: subject.isInt8 ? "int8" : "fp32",
    batch: 1,
    test: `tg${newTokens}`,
    promptTokens: start.length,
    newTokens,
    tokensPerSecond,
    achieved: tokensPerSecond.median,
    counts: why === undefined,
    why,
  };
}

/** Add speedups over the ts backend in float32, if that ran the same test. */
function withSpeedups(rows: readonly Row[]): Row[] {
  const kind = ({ test }: Row) => test.slice(0, 2);
  return rows.map((row) => {
    const ts = rows.find((other) => {
      return other.backend === "ts" && other.model === row.model && other.batch === 1 && kind(other) === kind(row);
    });
    const speedupOverTs = ts && row.tokensPerSecond.median / ts.tokensPerSecond.median;
    return speedupOverTs === undefined ? row : { ...row, speedupOverTs };
  });
}
