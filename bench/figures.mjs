/*
 * What is measured: every figure, what it is compared with, and its target.
 *
 * Figures of one group are measured in one interleaved run. Engines have names: "cpu 2" is our cpu backend with two
 * threads, "runomp 2" is llama2.c's OpenMP build with two, "int8 2" is the cpu backend with the model's int8 version;
 * engines.mjs makes them.
 */
import { machine } from "./machine.mjs";

/** The programs of llama2.c whose paths may be given. */
export const REFERENCES = ["run", "runfast", "runomp", "runq"];
export const ROWS = ["ts", "wasm", "cpu", "int8", "prefill", "stories", "load"];

/** Zen 5 adds scalars faster, so there gcc -O3 gains more than JavaScript. */
const TS_TARGET = machine.family === 26 ? 0.45 : 0.65;

const atLeast = (ratio, ofSweep) => ({ atLeast: ratio, ofSweep });

/**
 * @typedef {object} Figure
 * @property {string} row what --only names
 * @property {string} what
 * @property {string} group "slow", "decode", "prefill", "stories 0", "stories 1" or "load"
 * @property {string} model
 * @property {number} threads
 * @property {string} ours the engine
 * @property {string} against the engine it is compared to
 * @property {boolean} [otherTokens] the two are expected to generate different texts
 * @property {string} [sweep] the memory sweep beside it
 * @property {{ atLeast?: number, ofSweep?: number, atMost?: number }} [target] of the ratio; or of the sweep
 */

/** @returns {Figure[]} */
export function figuresOf(model) {
  const small = model === "260K";
  const figures = small ? [] : [...slow(model), ...prefill(model)];
  figures.push(...decode(model, small));
  if (model === "15M") figures.push(...stories(model), ...load(model));
  return figures;
}

function slow(model) {
  const target = atLeast(TS_TARGET);
  return [{ row: "ts", what: "ts", group: "slow", model, threads: 1, ours: "ts 1", against: "run 1", target }];
}

function decode(model, small) {
  const group = "decode";
  const middle = model === "15M";
  const figures = [];
  for (const threads of [1, 2]) {
    const one = threads === 1;
    const common = { group, model, threads };
    const against = one ? "runfast 1" : `runomp ${threads}`;
    const counted = one || !small; // there is no target for two threads with a model this small
    const targets = {
      wasm: small ? 0.6 : one ? 0.75 : 0.8,
      cpu: small ? 1.5 : middle ? 1.3 : 1.1,
      int8: small ? 3 : 2.5,
    };
    const target = (row, ofSweep) => (counted ? atLeast(targets[row], ofSweep) : undefined);
    const named = (row) => ({
      row,
      what: `${row}, ${one ? "1 thread" : `${threads} threads`}`,
      ours: `${row} ${threads}`,
    });
    const sweep = small ? undefined : `sweep ${threads}`;
    const sweepInt8 = small ? undefined : `sweep int8 ${threads}`;
    figures.push(
      { ...common, ...named("wasm"), against, sweep, target: target("wasm") },
      { ...common, ...named("cpu"), against, sweep, target: target("cpu", small ? undefined : 0.9) },
      { ...common, ...named("int8"), against: `runq ${threads}`, sweep: sweepInt8, target: target("int8") },
    );
    if (small) {
      if (one) figures.push(firstStory("wasm", common, against), firstStory("cpu", common, against));
      continue;
    }
    const ownTarget = middle ? undefined : atLeast(2.5);
    figures.push({ ...common, ...named("int8"), against: `cpu ${threads}`, otherTokens: true, target: ownTarget });
  }
  return figures;
}

/** A tiny model's story in a fresh process: most of it is generated before the JIT compilers have optimized the code. */
function firstStory(row, common, against) {
  return { ...common, row, what: `${row}, 1 thread, first story`, ours: `first ${row} 1`, against };
}

function prefill(model) {
  const what = "prefill of 128 tokens, cpu, 2 threads";
  const common = { row: "prefill", what, group: "prefill", model, threads: 2 };
  return [{ ...common, ours: "prefill 2", against: "runomp 2", target: atLeast(6) }];
}

function stories(model) {
  return [0, 1].map((temperature) => {
    const what = `32 stories at once, cpu, 2 threads, temperature ${temperature}`;
    const common = { row: "stories", what, group: `stories ${temperature}`, model, threads: 2 };
    return { ...common, ours: "at once", against: "one at a time", target: atLeast(5) };
  });
}

function load(model) {
  return ["cpu", "wasm", "ts"].map((backend) => {
    const what = `load to first token, ${backend}`;
    const common = { row: "load", what, group: "load", model, threads: 1 };
    const target = backend === "cpu" ? { atMost: 4 } : undefined;
    return { ...common, ours: `load ${backend}`, against: "load run", target };
  });
}

/** The engines that figures need. Those that are compared are next to each other. */
export function enginesOf(figures, hasReference) {
  const names = new Set();
  for (const { ours, against, sweep, threads, group } of figures) {
    names.add(against).add(ours);
    if (sweep) names.add(sweep);
    if (group === "load") names.add("load node");
    // to check that the machine had two free cores
    if (threads === 2 && hasReference("runomp")) names.add("runomp 1").add("runomp 2");
  }
  return [...names];
}

/** The program of llama2.c that an engine is, if it is one. */
export const referenceOf = (engine) => REFERENCES.find((name) => engine.split(" ").includes(name));
