/*
 * Sequences that a backend decodes by itself get the tokens, and their generators the states, that forward and sample give
 * one by one.
 */
import { expect, it } from "vitest";
import type { Context, Running } from "../../src/backend/backend.ts";
import { openCpu } from "../../src/backend/cpu/cpu.ts";
import { ts } from "../../src/backend/ts/ts.ts";
import { buildSampler } from "../../src/llama2/sampler.ts";
import type { WeightSource } from "../../src/llama2/weights.ts";
import { hasAddon, needsAddon } from "../helpers/backends.ts";
import type { Shape } from "../helpers/checkpoint.ts";
import { decodeAll, oneByOne, stepsOf, withContext } from "../helpers/feed.ts";
import { randomModel, scaled } from "../helpers/sources.ts";

const VOCAB = 97;
const CONTEXT = 40;
const SHAPE: Shape = [32, 48, 2, 4, 2, VOCAB, CONTEXT];

const start = (sequence: number, temperature: number, stop = -1): Running => ({
  token: 1 + sequence,
  pos: 0,
  sequence,
  stop,
  sampler: buildSampler(VOCAB, temperature, 0.9, BigInt(7 + sequence)),
});

/** What the reference chooses after `begin`, one by one, `count` times. */
async function expected(source: WeightSource, begin: Running, count: number): Promise<number[]> {
  return withContext(ts, source, { sequences: 3 }, (context) => oneByOne(context, begin, count));
}

/** Do something with a context of the cpu backend. */
const onCpu = <T>(source: WeightSource, threads: number, work: (context: Context) => T): Promise<T> =>
  withContext(openCpu(), source, { threads, sequences: 3 }, work);

it.skipIf(!hasAddon).each([1, 2, 3])(
  `%d sequences decode by themselves as one by one${needsAddon}`,
  async (sequences) => {
    const source = randomModel(SHAPE);
    for (const threads of [1, 2, 3]) {
      const running = Array.from({ length: sequences }, (_, i) => start(i, i === 1 ? 0 : 1));
      const tokens = await onCpu(source, threads, (context) => decodeAll(context, running, 30));
      for (const [i, { sampler }] of running.entries()) {
        const begin = start(i, i === 1 ? 0 : 1);
        expect(tokens[i]).toEqual(await expected(source, begin, 30));
        expect(sampler.rngState).toBe(begin.sampler.rngState);
      }
    }
  },
);

it.skipIf(!hasAddon)(`decoding ends with the step in which a sequence meets its stop${needsAddon}`, async () => {
  const source = randomModel(SHAPE);
  const other = await expected(source, start(1, 0), 3);
  const tokens = await expected(source, start(0, 0), 20);
  const stop = tokens[2];
  const steps = await onCpu(source, 2, (context) => stepsOf(context, [start(0, 0, stop), start(1, 0)], 20));
  expect(steps.length).toBe(tokens.indexOf(stop) + 1);
  expect(steps).toEqual(other.slice(0, steps.length).map((token, i) => [tokens[i], token]));
});

it.skipIf(!hasAddon)(`decoding ends with logits that are not finite, and without a token${needsAddon}`, async () => {
  const broken = scaled(randomModel(SHAPE), { rmsFinalWeight: NaN });
  expect(await onCpu(broken, 1, (context) => stepsOf(context, [start(0, 1)], 5))).toEqual([[-1]]);
});

it.skipIf(!hasAddon)(`decoding ends after so many steps, and at the end of the context${needsAddon}`, async () => {
  const source = randomModel(SHAPE);
  const last = { ...start(0, 0), pos: CONTEXT - 1 };
  await onCpu(source, 1, (context) => {
    expect(stepsOf(context, [start(0, 0)], 3).length).toBeLessThanOrEqual(3);
    expect(stepsOf(context, [last], 3).length).toBe(1);
  });
});
