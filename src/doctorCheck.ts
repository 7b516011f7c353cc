/*
 * doctor's test of a backend: a tiny forward pass, compared with the reference.
 */
import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import type { Backend } from "./backend/backend.ts";
import type { BackendName } from "./backend/names.ts";
import { mostThreads } from "./backend/processors.ts";
import { randomModel } from "./checkpoint/random.ts";
import { Llama2Error } from "./errors.ts";
import { type Config, forward } from "./llama2/transformer.ts";
import { loadTransformer, type WeightSource } from "./llama2/weights.ts";
import { revive } from "./run/failure.ts";
import type { FailureInfo } from "./run/protocol.ts";

/** A tiny forward pass, compared with the reference. */
export interface Check {
  backend: BackendName;
  precision: "fp32" | "int8";
  /** The sha256 of the logits, as little-endian float32. */
  logitsSha256: string;
  /** Whether they equal the reference's: bit for bit, or within 1e-4 on a backend that is not exact. */
  same: boolean;
}

/** What a backend is, and whether it computes what the reference does. */
export interface Checked {
  isa: string;
  exact: boolean;
  checks: Check[];
}

/** Check a backend in this process. */
export async function checkBackend(backend: Backend): Promise<Checked> {
  const checks: Check[] = [];
  for (const precision of ["fp32", "int8"] as const) checks.push(await check(backend, await referenceFor(precision)));
  return { isa: backend.isa, exact: backend.exact, checks };
}

/** What the other process says: doctorChild.ts. */
export type Said = { checked: Checked } | { failure: FailureInfo };

const LONGEST_MS = 60_000;

/**
 * Check a backend in a process of its own, so that an addon that crashes or hangs does not take this one down.
 * @param script what runs there
 * @throws Llama2Error E_DEVICE_UNAVAILABLE with the reason, E_DEVICE_LOST if that process ends or is not done in time
 */
export function checkApart(name: BackendName, script = childUrl(), longestMs = LONGEST_MS): Promise<Checked> {
  const child = fork(script, [name], { execArgv: [], stdio: ["ignore", "ignore", "ignore", "ipc"] });
  const lost = (how: string) => new Llama2Error("E_DEVICE_LOST", `the process that tried it ${how}`);
  return new Promise<Checked>((resolve, reject) => {
    const timer = setTimeout(() => reject(lost(`was not done after ${longestMs / 1000} s`)), longestMs);
    child.on("message", (said: Said) => ("checked" in said ? resolve(said.checked) : reject(revive(said.failure))));
    child.on("exit", (code, signal) => reject(lost(`ended with ${signal ?? `status ${code}`}`)));
    child.on("error", reject);
    child.on("close", () => clearTimeout(timer));
  }).finally(() => child.kill("SIGKILL"));
}

const childUrl = (): URL =>
  import.meta.url.endsWith(".ts")
    ? new URL("./doctorChild.ts", import.meta.url)
    : new URL("./doctorChild.js", import.meta.url);

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
