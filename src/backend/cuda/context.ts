/*
 * Sequences on the device.
 */
import type { Config } from "../../llama2/transformer.ts";
import type { Context, Entry, Running } from "../backend.ts";
import type { NativeContext } from "./addon.ts";

/** About how long the device decodes by itself: much longer than a launch takes, but short enough to be cancelled. */
const CHUNK_MS = 20;
/** Steps of the first chunk, before it is known how long one takes. */
const FIRST_STEPS = 4;

/** @param watch runs a call of the device, and remembers whether the device is lost */
export function openContext(native: NativeContext, { vocabSize }: Config, watch: <T>(work: () => T) => T): Context {
  const { maxBatch, maxSteps } = native;
  const entries = new Int32Array(4 * maxBatch);
  const choices = new Float32Array(2 * maxBatch);
  const states = new BigUint64Array(maxBatch);
  const state = new BigUint64Array(1);
  let logits = new Float32Array(vocabSize); // grows when more rows are wanted
  let steps = FIRST_STEPS;

  /** Read at most maxBatch entries; their logits go to the rows from `row` on. */
  function forward(batch: readonly Entry[], wanted: number, row: number): void {
    for (const [e, { token, pos, sequence }] of batch.entries()) entries.set([token, pos, sequence], 3 * e);
    const rows = logits.subarray(row * vocabSize, (row + wanted) * vocabSize);
    watch(() => native.forward(entries, batch.length, wanted, rows));
  }

  return {
    forward(batch, wanted) {
      if (wanted * vocabSize > logits.length) logits = new Float32Array(wanted * vocabSize);
      const silent = batch.length - wanted;
      for (let first = 0; first < batch.length; first += maxBatch) {
        const end = Math.min(batch.length, first + maxBatch);
        forward(batch.slice(first, end), Math.max(0, end - Math.max(first, silent)), Math.max(0, first - silent));
      }
      return logits.subarray(0, wanted * vocabSize);
    },

    sample(samplers, first = 0) {
      return samplers.map((sampler, i) => {
        const row = first + i;
        const mine = logits.subarray(row * vocabSize, (row + 1) * vocabSize);
        if (!mine.every(Number.isFinite)) return -1;
        state[0] = sampler.rngState;
        const token = watch(() => native.sample(logits, row, sampler.temperature, sampler.topp, state));
        sampler.rngState = state[0];
        return token;
      });
    },

    *decode(running, most) {
      const count = running.length;
      const chunk = Math.min(steps, most, maxSteps);
      fillRunning(running);
      const tokens = new Int32Array(count);
      let waited = 0;
      const wait = (work: () => void) => {
        const start = performance.now();
        watch(work);
        waited += performance.now() - start;
      };
      wait(() => native.decode(entries, choices, states, count, chunk));
      try {
        for (let step = 0; step < chunk; step++) {
          wait(() => native.tokens(step, tokens));
          yield { tokens, sampleMs: 0 };
        }
      } finally {
        wait(() => native.finish(states));
        for (const [i, { sampler }] of running.entries()) sampler.rngState = states[i];
      }
      steps = Math.max(1, Math.min(maxSteps, Math.floor((CHUNK_MS * chunk) / waited)));
    },

    copy: (from, to, positions) => watch(() => native.copy(from, to, positions)),

    dispose: () => native.dispose(),
  };

  function fillRunning(running: readonly Running[]): void {
    for (const [i, { token, pos, sequence, stop, sampler }] of running.entries()) {
      entries.set([token, pos, sequence, stop], 4 * i);
      choices.set([sampler.temperature, sampler.topp], 2 * i);
      states[i] = sampler.rngState;
    }
  }
}
