/*
 * What works on this machine, what does not, why, and the one next step.
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { buildCommand } from "./backend/buildCommand.ts";
import { BACKENDS, type BackendName } from "./backend/names.ts";
import { type Check, type Checked, checkApart } from "./doctorCheck.ts";
import { Llama2Error } from "./errors.ts";
import { driverProblem, isTooOld, seesGpu } from "./host/driver.ts";
import { type MachineFacts, packageVersion, thisMachine } from "./host/facts.ts";
import { askNvidiaSmi, type Gpu, type NvidiaSmi } from "./host/nvidia.ts";
import { installing, type Problem } from "./host/system.ts";
import { buildProblem } from "./host/toolkit.ts";
import { thisWorld, type World } from "./host/world.ts";

export type { Check };

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

export interface Diagnosis {
  version: string;
  machine: MachineFacts;
  backends: DiagnosedBackend[];
  gpus: Gpu[];
  /** NVIDIA's library for several GPUs. It is not needed: each model is on one GPU. */
  nccl: { present: boolean; needed: false };
  checks: Check[];
  /** What to do about it, a line each. */
  advice: string[];
  /** Whether the best backend for this machine works. */
  well: boolean;
}

/** How a backend is tried. @throws Llama2Error with the reason why it does not work */
type CheckBackend = (name: BackendName) => Promise<Checked>;

/**
 * Look at this machine: its processors and GPUs, which backends work, and whether they compute what the reference does.
 * Takes a second or two; nothing is changed.
 */
export const doctor = (): Promise<Diagnosis> => diagnose(thisWorld, checkApart);

/**
 * The same for any machine.
 * @internal
 */
export async function diagnose(world: World, checkBackend: CheckBackend): Promise<Diagnosis> {
  const smi = await askNvidiaSmi(world);
  const found = await Promise.all(BACKENDS.map((name) => examine(name, world, smi, checkBackend)));
  const backends: DiagnosedBackend[] = found.map(({ diagnosed }) => diagnosed);
  const checks: Check[] = found.flatMap(({ checks }) => checks);
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

async function examine(name: BackendName, world: World, smi: NvidiaSmi, checkBackend: CheckBackend) {
  const exact = name !== "cuda";
  try {
    const { isa, checks } = await checkBackend(name);
    const wrong = checks.filter(({ same }) => !same).map(({ precision }) => precision);
    if (wrong.length === 0) return { diagnosed: { name, works: true, exact, isa }, checks };
    const reason = `it computes other logits than the reference (${wrong.join(", ")})`;
    return { diagnosed: { name, works: false, exact, isa, reason, next: rebuilding(name) }, checks };
  } catch (error) {
    const problem = await problemOf(name, error as Error, world, smi);
    return { diagnosed: { name, works: false, exact, ...problem }, checks: [] };
  }
}

const rebuilding = (name: BackendName): string | undefined =>
  name === "cpu" ? buildCommand("native") : name === "cuda" ? buildCommand("cuda") : undefined;

/** @param error why it does not work, in its own words */
async function problemOf(name: BackendName, error: Error, world: World, smi: NvidiaSmi): Promise<Problem> {
  const said = error.message;
  if (error instanceof Llama2Error && error.code === "E_DEVICE_LOST") return { reason: said, next: rebuilding(name) };
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

/** Whether NCCL is in the dynamic loader's cache, or where its packages install it. */
async function hasNccl(world: World): Promise<boolean> {
  if (world.platform !== "linux") return false;
  const listed = await world.run("ldconfig", ["-p"]);
  if (listed?.stdout.includes("libnccl.so")) return true;
  return ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/local/cuda/lib64"].some((folder) =>
    world.exists(`${folder}/libnccl.so.2`),
  );
}
