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
  const model = await ts.load(source, CONTEXT, { threads: 1 });
  const context = model.openContext(1);
  const tokens: number[] = [];
  let { token, pos } = begin;
  while (tokens.length < count) {
    context.forward([{ token, pos: pos++, sequence: 0 }], 1);
    [token] = context.sample([begin.sampler]);
    tokens.push(token);
  }
  return tokens;
}

/** Do something with a context of the cpu backend. */
async function onCpu<T>(source: WeightSource, threads: number, work: (context: Context) => T): Promise<T> {
  const model = await openCpu().load(source, CONTEXT, { threads });
  const context = model.openContext(3);
  try {
    return work(context);
  } finally {
    context.dispose();
    model.dispose();
  }
}

/** All steps of one call, a row each. */
function stepsOf(context: Context, running: Running[], most: number): number[][] {
  const rows: number[][] = [];
  for (const { tokens } of context.decode?.(running, most) ?? []) {
    for (let at = 0; at < tokens.length; at += running.length) rows.push([...tokens.subarray(at, at + running.length)]);
  }
  return rows;
}

/** The tokens of each of `running`, in as many calls as it takes. */
function decodeAll(context: Context, running: Running[], count: number): number[][] {
  const tokens: number[][] = running.map(() => []);
  while (tokens[0].length < count) {
    const next = running.map((begin, i) => {
      return { ...begin, token: tokens[i].at(-1) ?? begin.token, pos: begin.pos + tokens[i].length };
    });
    for (const row of stepsOf(context, next, count - tokens[0].length)) {
      for (const [i, token] of row.entries()) tokens[i].push(token);
    }
  }
  return tokens;
}

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
