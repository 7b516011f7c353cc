/*
 * Plans what to measure: every requested combination, or by default the most useful ones that fit into the time.
 */

import { PRECISIONS, type Precision } from "../backend/cuda/options.ts";
import { availableBackends } from "../backend/load.ts";
import { BACKENDS, type BackendName } from "../backend/names.ts";
import { processors } from "../backend/processors.ts";
import { checkOneOf, checkWhole, show, usage } from "../check.ts";
import { open } from "../checkpoint/open.ts";
import { filesAt } from "../files/disk.ts";
import { modelName } from "../files/modelName.ts";
import type { Config } from "../llama2/transformer.ts";
import { isVector, tensorsOf } from "../llama2/weights.ts";
import type { EngineSpec } from "./engine.ts";
import { shapeOf } from "./shapes.ts";

/** Seconds. quick: about 10, normal: about a minute, full: as long as it takes. */
export const EFFORTS = { quick: 10, normal: 60, full: Number.POSITIVE_INFINITY } as const;
export type Effort = keyof typeof EFFORTS;

export interface PlanOptions {
  /** Paths of models. */
  models?: readonly string[];
  /** Models of random weights: "15M", "7B", or dim,hiddenDim,layers,heads,kvHeads,vocabSize,context. */
  shapes?: readonly string[];
  backends?: readonly BackendName[];
  precisions?: readonly Precision[];
  threads?: readonly number[];
  /** Sequences at once. */
  batches?: readonly number[];
  /** Lengths of prompts to read, in tokens; 0: no such test. @default 128 */
  promptTokens?: readonly number[];
  /** How many new tokens to generate; 0: no such test. @default 128 */
  newTokens?: readonly number[];
  /** @default "normal" */
  effort?: Effort;
}

/** A model that is measured. */
export interface Subject {
  name: string;
  model: EngineSpec["model"];
  config: Config;
  /** Whether its matrices are int8 in the file; then they stay so. */
  isInt8: boolean;
}

/** A test of an engine. */
export interface Test {
  kind: "pp" | "tg";
  tokens: number;
  batch: number;
}

/** An engine, and what it does. */
export interface Planned {
  subject: Subject;
  spec: EngineSpec;
  tests: Test[];
}

export interface Plan {
  engines: Planned[];
  skipped: { what: string; reason: string }[];
}

/** The plan of a measurement. @throws Llama2Error E_USAGE; E_FILE or E_FORMAT for a model that cannot be read */
export async function planOf(options: PlanOptions): Promise<Plan> {
  checkPlan(options);
  const subjects = await subjectsOf(options);
  const working = (await availableBackends()).map(({ name }) => name);
  const names = options.backends ?? [...working].reverse(); // the reference first
  const plan: Plan = { engines: [], skipped: [] };
  for (const subject of subjects) {
    for (const backend of names) {
      for (const precision of options.precisions ?? defaultPrecisions(subject, backend, options.effort)) {
        for (const threads of options.threads ?? defaultThreads(backend, options.effort)) {
          const what = [subject.name, backend, precision, `${threads} threads`].join(" ");
          const reason = impossible(subject, backend, precision, threads);
          const tests = testsOf(subject, options, backend === working[0] && threads === mostThreads(backend));
          if (reason) plan.skipped.push({ what, reason });
          else plan.engines.push({ subject, spec: { model: subject.model, backend, precision, threads }, tests });
        }
      }
    }
  }
  return plan;
}

/** The options that take lists; every combination of them is measured. */
export const LISTS = [
  "models",
  "shapes",
  "backends",
  "precisions",
  "threads",
  "batches",
  "promptTokens",
  "newTokens",
] as const;

function checkPlan(options: PlanOptions): void {
  for (const name of LISTS) {
    const list = options[name];
    if (list !== undefined && !Array.isArray(list)) usage(`${name} is ${show(list)}, expected an array`);
  }
  for (const name of ["models", "shapes"] as const) {
    for (const text of options[name] ?? [])
      if (typeof text !== "string") usage(`${name} has ${show(text)}, expected texts`);
  }
  const { backends = [], precisions = [], threads = [], batches = [], promptTokens = [], newTokens = [] } = options;
  for (const backend of backends) checkOneOf("backend", backend, BACKENDS);
  for (const precision of precisions) checkOneOf("precision", precision, PRECISIONS);
  for (const count of threads) checkWhole("threads", count, 1, 1024);
  for (const count of batches) checkWhole("batch", count, 1, 1024);
  for (const count of [...promptTokens, ...newTokens]) checkWhole("a number of tokens", count, 0, 2 ** 24);
  checkOneOf("effort", options.effort ?? "normal", Object.keys(EFFORTS));
}

async function subjectsOf({ models = [], shapes = [] }: PlanOptions): Promise<Subject[]> {
  const subjects: Subject[] = shapes.map((text) => {
    const shape = shapeOf(text);
    return { name: `${shape.name} (random)`, model: { shape }, config: shape.config, isInt8: false };
  });
  for (const path of models) {
    const opened = await open(filesAt(path));
    const { config } = opened;
    const isInt8 = tensorsOf(opened).some(({ name }) => !isVector(name) && opened.formatOf(name) !== "float32");
    opened.close();
    subjects.push({
      name: modelName(path),
      model: { path },
      config,
      isInt8,
    });
  }
  if (subjects.length === 0) usage("there is no model to measure");
  return subjects;
}

const mostThreads = (backend: BackendName): number => (backend === "cpu" || backend === "wasm" ? processors() : 1);

function defaultThreads(backend: BackendName, effort: Effort = "normal"): number[] {
  const most = mostThreads(backend);
  return effort === "quick" || most === 1 ? [most] : [1, most];
}

function defaultPrecisions({ isInt8 }: Subject, backend: BackendName, effort: Effort = "normal"): Precision[] {
  if (isInt8) return ["int8"];
  if (backend === "cuda") return ["fp32", "fp16", "int8"];
  return backend === "cpu" || effort === "full" ? ["fp32", "int8"] : ["fp32"];
}

function impossible({ isInt8 }: Subject, backend: BackendName, precision: Precision, threads: number) {
  if (isInt8 && precision !== "int8") return "the model is int8 in its file, and stays so";
  if (precision === "fp16" && backend !== "cuda") return "fp16 needs the cuda backend";
  if (backend === "ts" && threads > 1) return "the ts backend runs on one thread";
  if (backend === "cuda" && threads > 1) return "the cuda backend has no threads to choose";
  return undefined;
}

/** @param best whether this is the fastest backend, with all its threads: it is measured with several sequences too */
function testsOf({ config }: Subject, options: PlanOptions, best: boolean): Test[] {
  const { promptTokens = [128], newTokens = [128], effort = "normal" } = options;
  const batches = options.batches ?? (best && effort !== "quick" ? [1, 8, 32, 128] : [1]);
  const most = (tokens: number) => Math.min(tokens, config.seqLen);
  const tests: Test[] = [];
  for (const tokens of new Set(promptTokens.map(most))) if (tokens > 0) tests.push({ kind: "pp", tokens, batch: 1 });
  for (const tokens of new Set(newTokens.map(most))) {
    if (tokens > 0) for (const batch of batches) tests.push({ kind: "tg", tokens, batch });
  }
  return tests;
}
