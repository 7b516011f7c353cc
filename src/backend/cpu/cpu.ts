/*
 * The cpu backend: forward pass and sampler in native code (native/cpu/), the same bits as the reference.
 */
import { Llama2Error } from "../../errors.ts";
import { randomF32 } from "../../llama2/sampler.ts";
import { type Config, kvDimOf, ropeFrequencies } from "../../llama2/transformer.ts";
import { groupSizesOf, type Holdings } from "../../llama2/weights.ts";
import type { Backend, Context, LoadOptions, Memory } from "../backend.ts";
import { checkMemory } from "../limits.ts";
import { calling, fill } from "../native.ts";
import { Team } from "../team.ts";
import { threadsFor } from "../threads.ts";
import { type Addon, loadAddon, type NativeContext, type NativeModel } from "./addon.ts";

/**
 * The cpu backend, with the instruction set that LLAMA2_ISA names, or else the best of this machine.
 * @throws Llama2Error E_DEVICE_UNAVAILABLE if the addon does not load, or this machine lacks the named instruction set
 */
export function openCpu(): Backend {
  const addon = loadAddon();
  const isa = chooseIsa(addon.isas(), process.env.LLAMA2_ISA ?? "");
  return {
    name: "cpu",
    isa: nameOf(isa),
    exact: true,
    estimate: (source, contextLength, options) => estimate(addon, source, contextLength, options),
    async load(source, contextLength, options) {
      const config = { ...source.config, seqLen: contextLength };
      checkMemory(estimate(addon, source, contextLength, options), config);
      const threads = threadsOf(source, options);
      const groupSizes = groupSizesOf(source);
      const model = calling(
        () => new addon.Model(config, source.sharedClassifier, groupSizes, ropeFrequencies(config), isa, threads),
      );
      try {
        await fill(model, source);
      } catch (error) {
        model.dispose();
        throw error;
      }
      const team = new Team(threads);
      return {
        threads,
        maxBatch: model.maxBatch,
        openContext: (sequences) => calling(() => openContext(addon, model, team, config, sequences)),
        dispose: () => model.dispose(),
      };
    },
  };
}

const ISAS = ["base", "avx2", "avx512", "neon"];

/** The baseline of x86-64 is known as SSE2. */
const BASE_NAME = process.arch === "x64" ? "sse2" : "base";
const nameOf = (isa: string) => (isa === "base" ? BASE_NAME : isa);

/** Which of `available` is `wanted`, in any case and with or without a hyphen; the best if it is empty. */
function chooseIsa(available: string[], wanted: string): string {
  if (wanted === "") return available[available.length - 1];
  const plain = wanted.toLowerCase().replace(/[^a-z0-9]/g, "");
  const isa = plain === BASE_NAME ? "base" : plain;
  if (available.includes(isa)) return isa;
  const known = ISAS.includes(isa) || isa === "sse2";
  const why = known ? "which this machine does not have" : "which is not the name of an instruction set";
  throw new Llama2Error(
    "E_DEVICE_UNAVAILABLE",
    `LLAMA2_ISA is ${wanted}, ${why}; it has ${available.map(nameOf).join(", ")}`,
  );
}

/** How long sequences decode by themselves at a time: much longer than a call takes, but soon to be interrupted. */
const DECODE_MS = 2;
/** How many steps they may take meanwhile. */
const DECODE_STEPS = 64;

/** With fewer weights per thread, waiting for the others costs more than the thread gains. */
const WEIGHTS_A_THREAD = 1e6;

const threadsOf = (source: Holdings, { threads }: LoadOptions) => threads || threadsFor(source, WEIGHTS_A_THREAD);

/** What the addon would allocate, as it says itself. */
function estimate(addon: Addon, source: Holdings, contextLength: number, options: LoadOptions): Memory {
  const config = { ...source.config, seqLen: contextLength };
  const threads = threadsOf(source, options);
  const bytes = addon.estimateMemory(config, source.sharedClassifier, groupSizesOf(source), threads);
  return { ...bytes, available: options.memory ?? Infinity };
}

function openContext(addon: Addon, model: NativeModel, team: Team, config: Config, sequences: number): Context {
  const { vocabSize } = config;
  const native: NativeContext = new addon.Context(model, sequences);
  const entries = new Int32Array(3 * model.maxBatch);
  const draws = new Float32Array(3 * model.maxBatch);
  const running = new Int32Array(4 * model.maxBatch);
  const choices = new Float32Array(2 * model.maxBatch);
  const states = new BigUint64Array(model.maxBatch);
  const tokens = new Int32Array(DECODE_STEPS * model.maxBatch);
  const spent = new Float64Array(2);
  let logits = new Float32Array(vocabSize); // grows when more rows are wanted
  let last = logits;
  /** Make room for the logits of so many entries. */
  function want(rows: number): void {
    if (rows * vocabSize > logits.length) logits = new Float32Array(rows * vocabSize);
    if (rows * vocabSize !== last.length) last = logits.subarray(0, rows * vocabSize);
  }
  return {
    forward(batch, wanted) {
      want(wanted);
      for (let e = 0; e < batch.length; e++) {
        const { token, pos, sequence } = batch[e];
        entries[3 * e] = token;
        entries[3 * e + 1] = pos;
        entries[3 * e + 2] = sequence;
      }
      const start = performance.now();
      const lateMs = native.forward(entries, batch.length, wanted, last, team.size);
      team.ran(performance.now() - start, lateMs);
      return last;
    },
    sample(samplers, first = 0) {
      for (let row = 0; row < samplers.length; row++) {
        const sampler = samplers[row];
        draws[3 * row] = sampler.temperature;
        draws[3 * row + 1] = sampler.topp;
        draws[3 * row + 2] = sampler.temperature === 0 ? 0 : randomF32(sampler);
      }
      const rows = first === 0 ? last : last.subarray(first * vocabSize);
      native.sample(rows, draws, samplers.length, tokens, team.size);
      return Array.from(tokens.subarray(0, samplers.length));
    },
    *decode(sequences, most) {
      const count = sequences.length;
      want(count);
      let limit = Math.min(most, DECODE_STEPS);
      for (const [i, { token, pos, sequence, stop, sampler }] of sequences.entries()) {
        limit = Math.min(limit, config.seqLen - pos);
        running.set([token, pos, sequence, stop], 4 * i);
        choices.set([sampler.temperature, sampler.topp], 2 * i);
        states[i] = sampler.rngState;
      }
      const start = performance.now();
      const steps = native.decode(running, choices, states, count, limit, DECODE_MS, last, tokens, spent, team.size);
      const [lateMs, sampleMs] = spent;
      team.ran(performance.now() - start - sampleMs, lateMs);
      for (const [i, { sampler }] of sequences.entries()) sampler.rngState = states[i];
      yield { tokens: tokens.subarray(0, steps * count), sampleMs };
    },
    copy: (from, to, positions) => native.copy(from, to, positions),
    trace({ pos, sequence }) {
      const keys = new Float32Array(config.nLayers * kvDimOf(config));
      const values = new Float32Array(keys.length);
      native.trace(sequence, pos, keys, values);
      return { keys, values };
    },
    dispose: () => native.dispose(),
  };
}
