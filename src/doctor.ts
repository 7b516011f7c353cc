/*
 * What works on this machine, what does not, why, and the one next step.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Backend } from "./backend/backend.ts";
import { buildCommand } from "./backend/buildCommand.ts";
import { BACKENDS, type BackendName } from "./backend/names.ts";
import { openBackend } from "./backend/openers.ts";
import { mostThreads } from "./backend/processors.ts";
import { randomModel } from "./checkpoint/random.ts";
import { driverProblem, isTooOld, seesGpu } from "./host/driver.ts";
import { type MachineFacts, packageVersion, thisMachine } from "./host/facts.ts";
import { askNvidiaSmi, type Gpu, type NvidiaSmi } from "./host/nvidia.ts";
import { installing, type Problem } from "./host/system.ts";
import { buildProblem } from "./host/toolkit.ts";
import { thisWorld, type World } from "./host/world.ts";
import { type Config, forward } from "./llama2/transformer.ts";
import { loadTransformer, type WeightSource } from "./llama2/weights.ts";

/** A backend, and whether it works here. */
export interface DiagnosedBackend {
  name: BackendName;
  works: boolean;
  /** Whether its logits are run.c's, bit for bit. */
  exact: boolean;
  isa?: string;
  /** Why it does not work, and the one next step: a command, where there is one. */
  reason?: string;
  next?: string;
}

/** A tiny forward pass, held against the reference. */
export interface Check {
  backend: BackendName;
  precision: "fp32" | "int8";
  /** Of the logits, as little-endian float32. */
  logitsSha256: string;
  /** Whether they are the reference's: bit for bit, or, where a backend is not exact, within 1e-4. */
  same: boolean;
}

export interface Diagnosis {
  version: string;
  machine: MachineFacts;
  backends: DiagnosedBackend[];
  gpus: Gpu[];
  /** NVIDIA's library for several GPUs, which is not needed: each model lies on one GPU. */
  nccl: { present: boolean; needed: false };
  checks: Check[];
  /** What to do about it, a line each. */
  advice: string[];
  /** Whether the best backend for this machine works. */
  well: boolean;
}

/** How a backend is opened. @throws Llama2Error E_DEVICE_UNAVAILABLE with the reason */
type Open = (name: BackendName) => Promise<Backend>;

/**
 * Look at this machine: its processors and GPUs, which backends work, and whether they compute what the reference does.
 * Takes a second or two; nothing is changed.
 */
export const doctor = (): Promise<Diagnosis> => diagnose(thisWorld, openBackend);

/**
 * The same for any machine.
 * @internal
 */
export async function diagnose(world: World, open: Open): Promise<Diagnosis> {
  const smi = await askNvidiaSmi(world);
  const references = [await referenceFor("fp32"), await referenceFor("int8")];
  const backends: DiagnosedBackend[] = [];
  const checks: Check[] = [];
  for (const name of BACKENDS) {
    const found = await examine(name, references, world, smi, open);
    backends.push(found.diagnosed);
    checks.push(...found.checks);
  }
  const isa = backends.find(({ name, works }) => works && name !== "cuda")?.isa ?? "none";
  const works = (name: BackendName) => backends.some((backend) => backend.name === name && backend.works);
  const wantsCuda = seesGpu(world, smi) && !isTooOld(smi);
  return {
    version: packageVersion(),
    machine: thisMachine(isa),
    backends,
    gpus: smi.gpus,
    nccl: { present: await hasNccl(world), needed: false },
    checks,
    advice: adviceOn(backends, wantsCuda),
    well: works("cpu") && (works("cuda") || !wantsCuda),
  };
}

async function examine(name: BackendName, references: readonly Reference[], world: World, smi: NvidiaSmi, open: Open) {
  const checks: Check[] = [];
  const exact = name !== "cuda";
  try {
    const backend = await open(name);
    for (const reference of references) checks.push(await check(backend, reference));
    const wrong = checks.filter(({ same }) => !same).map(({ precision }) => precision);
    if (wrong.length === 0) return { diagnosed: { name, works: true, exact, isa: backend.isa }, checks };
    const reason = `it computes other logits than the reference (${wrong.join(", ")})`;
    const diagnosed = { name, works: false, exact, isa: backend.isa, reason, next: rebuilding(name) };
    return { diagnosed, checks };
  } catch (error) {
    const problem = await problemOf(name, (error as Error).message, world, smi);
    return { diagnosed: { name, works: false, exact, ...problem }, checks };
  }
}

const rebuilding = (name: BackendName): string | undefined =>
  name === "cpu" ? buildCommand("native") : name === "cuda" ? buildCommand("cuda") : undefined;

/** @param said why it does not open, in its own words */
async function problemOf(name: BackendName, said: string, world: World, smi: NvidiaSmi): Promise<Problem> {
  if (name === "cpu") return nativeProblem(said, world);
  if (name !== "cuda") return { reason: said };
  const driver = await driverProblem(world, smi);
  if (driver) return driver;
  if (/has not been built/.test(said)) return buildProblem(world, smi, buildCommand("cuda"));
  // it has been built, and does not suit what is here
  const { next } = await buildProblem(world, smi, buildCommand("cuda"));
  return { reason: said, next };
}

/** What the native addon needs to be built, in the order in which its build needs them. */
async function nativeProblem(said: string, world: World): Promise<Problem> {
  if (/^LLAMA2_ISA/.test(said)) return { reason: said, next: "unset LLAMA2_ISA" };
  const compiler = world.platform === "win32" || (await world.run(world.env.CXX ?? "g++", ["--version"]));
  if (!compiler) return { reason: `${said}; there is no C++ compiler`, next: installing(world, "compiler") };
  const prefix = dirname(dirname(process.execPath));
  if (world.platform !== "win32" && !existsSync(join(prefix, "include", "node", "node_api.h"))) {
    return {
      reason: `${said}; Node's headers are not beside it, in ${prefix}/include`,
      next: "install a Node that has its headers, such as nodejs.org's",
    };
  }
  return { reason: said, next: buildCommand("native") };
}

function adviceOn(backends: readonly DiagnosedBackend[], wantsCuda: boolean): string[] {
  const advice: string[] = [];
  for (const { name, works, next } of backends) {
    if (works || next === undefined || (name === "cuda" && !wantsCuda)) continue;
    advice.push(`for the ${name} backend: ${next}`);
  }
  const best = backends.find(({ works }) => works);
  if (advice.length === 0 && best) advice.push(`nothing: auto takes ${best.name}, the fastest backend here`);
  return advice;
}

/** In the list of libraries that the system's loader keeps, or where its packages put it. */
async function hasNccl(world: World): Promise<boolean> {
  if (world.platform !== "linux") return false;
  const listed = await world.run("ldconfig", ["-p"]);
  if (listed?.stdout.includes("libnccl.so")) return true;
  return ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/local/cuda/lib64"].some((folder) =>
    world.exists(`${folder}/libnccl.so.2`),
  );
}

// ----------------------------------------------------------------------------
// the check

const SHAPE = { dim: 64, hiddenDim: 176, nLayers: 2, nHeads: 4, nKvHeads: 2, vocabSize: 512, seqLen: 32 };
const CONFIG: Config = { ...SHAPE, normEps: 1e-5, ropeTheta: 10000 };
/** A prompt in one pass, as far as the backend can, and two tokens after it. */
const TOKENS = [1, 300, 7, 42, 511, 260, 9, 128];
const PROMPT = TOKENS.length - 2;
/** Of the largest logit: how far a backend that adds in another order may be away. */
const TOLERANCE = 1e-4;

/** A model, and what the reference computes with it. */
interface Reference {
  precision: Check["precision"];
  source: WeightSource;
  logits: Float32Array; // (TOKENS.length, vocabSize)
}

async function referenceFor(precision: Check["precision"]): Promise<Reference> {
  const source = randomModel(CONFIG, { int8: precision === "int8" });
  const transformer = await loadTransformer(source);
  const logits = joined(TOKENS.map((token, pos) => forward(transformer, token, pos).slice()));
  return { precision, source, logits };
}

async function check(backend: Backend, { precision, source, logits: expected }: Reference): Promise<Check> {
  const model = await backend.load(source, CONFIG.seqLen, { threads: Math.min(2, mostThreads()) });
  try {
    const context = model.openContext(1);
    const read = (from: number, to: number) => {
      const entries = TOKENS.slice(from, to).map((token, i) => ({ token, pos: from + i, sequence: 0 }));
      return context.forward(entries, entries.length).slice();
    };
    const steps = Math.min(model.maxBatch, PROMPT);
    const rows: Float32Array[] = [];
    for (let pos = 0; pos < PROMPT; pos += steps) rows.push(read(pos, Math.min(PROMPT, pos + steps)));
    for (let pos = PROMPT; pos < TOKENS.length; pos++) rows.push(read(pos, pos + 1));
    context.dispose();
    const logits = joined(rows);
    return { backend: backend.name, precision, logitsSha256: sha256(logits), same: isSame(backend, logits, expected) };
  } finally {
    model.dispose();
  }
}

function isSame({ exact }: Backend, logits: Float32Array, expected: Float32Array): boolean {
  if (exact) return sha256(logits) === sha256(expected);
  const largest = expected.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  return logits.every((value, i) => Math.abs(value - expected[i]) <= TOLERANCE * largest);
}

function joined(rows: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(rows.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const row of rows) {
    all.set(row, at);
    at += row.length;
  }
  return all;
}

const sha256 = (numbers: Float32Array): string =>
  createHash("sha256")
    .update(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength))
    .digest("hex");
