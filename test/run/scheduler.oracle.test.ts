/*
 * Whatever the mix of requests, each sequence gets the results of a plain loop: the same tokens, log-probabilities
 * and state of the generator.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LoadedModel } from "../../src/backend/backend.ts";
import { loadTransformer } from "../../src/llama2/weights.ts";
import type { SequenceRequest } from "../../src/run/protocol.ts";
import { candidates } from "../helpers/backends.ts";
import type { Shape } from "../helpers/checkpoint.ts";
import { Disguised, DrivenScheduler } from "../helpers/drivenScheduler.ts";
import { KnowingGuesser } from "../helpers/guessers.ts";
import { type Outcome, plainLoop } from "../helpers/plainLoop.ts";
import { randomModel } from "../helpers/sources.ts";

const VOCAB = 64;
const CONTEXT = 40;
const shape: Shape = [16, 40, 2, 4, 2, VOCAB, CONTEXT];
const source = randomModel(shape);
const reference = await loadTransformer(source);

const token = fc.integer({ min: 0, max: VOCAB - 1 });
/** Prompts that often begin alike. */
const prompt = fc
  .tuple(fc.constantFrom([1], [1, 5, 7, 9], [1, 5, 7, 9, 11, 13, 15, 17, 19, 21]), fc.array(token, { maxLength: 6 }))
  .map(([start, rest]) => [...start, ...rest]);

const sampling = fc.record({
  temperature: fc.constantFrom(0, 0.5, 1, 2),
  topP: fc.constantFrom(0, 0.5, 0.9, 1),
  state: fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }),
  topK: fc.constantFrom(undefined, undefined, 0, 1, 5, 1000),
  minP: fc.constantFrom(undefined, undefined, 0, 0.02, 0.7, 1),
  repetitionPenalty: fc.constantFrom(undefined, undefined, 1, 1.3, 0.5),
});
const top = fc.constantFrom(undefined, 0, 3);
const generating = fc.record({
  tokens: prompt,
  maxTokens: fc.integer({ min: 0, max: 24 }),
  stops: fc.array(token, { maxLength: 4 }),
  sampling,
  want: fc.constantFrom("tokens" as const, "tokens" as const, "logprobs" as const, "logits" as const),
  top,
});
const onlyRead = fc
  .record({
    tokens: prompt,
    maxTokens: fc.constant(0),
    stops: fc.constant([]),
    want: fc.constantFrom("logprobs" as const, "logits" as const),
    skip: fc.nat({ max: 4 }),
    oneByOne: fc.boolean(),
    top,
  })
  .map((request) => ({ ...request, skip: Math.min(request.skip, request.tokens.length - 1) }));
const sequence: fc.Arbitrary<SequenceRequest> = fc.oneof({ arbitrary: generating, weight: 4 }, onlyRead);

type Action =
  | { do: "start"; sequences: SequenceRequest[] }
  | { do: "many"; sequence: SequenceRequest; count: number } // of one prompt, as -N
  | { do: "extend"; which: number; says: number[]; sequence: SequenceRequest } // a chat's next turn
  | { do: "steps"; count: number }
  | { do: "abort"; which: number };
const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ do: fc.constant("start" as const), sequences: fc.array(sequence, { minLength: 1, maxLength: 3 }) }),
  fc.record({ do: fc.constant("many" as const), sequence: generating, count: fc.integer({ min: 2, max: 5 }) }),
  fc.record({
    do: fc.constant("extend" as const),
    which: fc.nat(),
    says: fc.array(token, { minLength: 1, maxLength: 4 }),
    sequence: generating,
  }),
  fc.record({ do: fc.constant("steps" as const), count: fc.integer({ min: 1, max: 12 }) }),
  fc.record({ do: fc.constant("steps" as const), count: fc.integer({ min: 1, max: 12 }) }),
  fc.record({ do: fc.constant("abort" as const), which: fc.nat() }),
);
const mix = fc.record({
  actions: fc.array(action, { minLength: 1, maxLength: 14 }),
  slots: fc.integer({ min: 1, max: 6 }),
  maxBatch: fc.constantFrom(1, 2, 5, 64),
  copies: fc.boolean(),
  chunk: fc.constantFrom(undefined, undefined, 1, 3, 8),
  guesses: fc.constantFrom(undefined, { most: 1, hit: 0.5 }, { most: 4, hit: 0.9 }, { most: 15, hit: 0.7 }),
});

type Mix = typeof mix extends fc.Arbitrary<infer T> ? T : never;

const bitsOf = (numbers: ArrayLike<number>) => Buffer.from(Float64Array.from(numbers).buffer).toString("hex");

/** Run a mix, and compare. */
function check(model: LoadedModel, m: Mix): void {
  const knowing = m.guesses && new KnowingGuesser(m.guesses.most, m.guesses.hit, VOCAB);
  const driven = new DrivenScheduler(new Disguised(model, m), VOCAB, m.slots, knowing);
  const requests: { sequences: SequenceRequest[]; outcomes: Outcome[]; aborted: boolean }[] = [];
  const start = (sequences: SequenceRequest[]) => {
    const fitting = sequences.map((request) => {
      return { ...request, maxTokens: Math.min(request.maxTokens, CONTEXT + 1 - request.tokens.length) };
    });
    driven.scheduler.add(requests.length, fitting);
    const outcomes = fitting.map((request) => plainLoop(reference, request));
    for (const [k, { tokens }] of outcomes.entries()) knowing?.know([...fitting[k].tokens, ...tokens]);
    requests.push({ sequences: fitting, outcomes, aborted: false });
  };
  const before = (which: number) => (requests.length > 0 ? which % requests.length : undefined);
  for (const a of m.actions) {
    if (a.do === "start") start(a.sequences);
    if (a.do === "many") {
      const { sampling } = a.sequence;
      const { state, ...rest } = sampling ?? { temperature: 0, topP: 0, state: 1n };
      start(
        Array.from({ length: a.count }, (_, k) => ({
          ...a.sequence,
          sampling: { ...rest, state: BigInt.asUintN(64, state + BigInt(k)) || 1n },
        })),
      );
    }
    if (a.do === "steps") for (let i = 0; i < a.count && driven.scheduler.busy; i++) driven.step();
    const which = "which" in a ? before(a.which) : undefined;
    if (which === undefined) continue;
    const other = requests[which];
    if (a.do === "abort") {
      const last = driven.of(which).last;
      driven.cancel(which);
      other.aborted ||= !last || other.sequences.length > 1;
      for (const [k, { tokens }] of other.outcomes.entries()) {
        const so = driven.of(which, k).tokens;
        expect(so).toEqual(tokens.slice(0, so.length));
      }
    }
    if (a.do === "extend") {
      const tokens = [...other.sequences[0].tokens, ...other.outcomes[0].tokens, ...a.says].slice(0, CONTEXT);
      start([{ ...a.sequence, tokens }]);
    }
  }
  driven.runToEnd();
  for (const [id, { sequences, outcomes, aborted }] of requests.entries()) {
    if (aborted) continue;
    for (const [k, outcome] of outcomes.entries()) {
      const brought = driven.of(id, k);
      const what = `sequence ${k} of request ${id}: ${JSON.stringify(sequences[k].tokens)}`;
      expect({ what, tokens: brought.tokens, ended: brought.last?.ended }).toEqual({
        what,
        tokens: outcome.tokens,
        ended: outcome.ended,
      });
      expect({ what, state: brought.last?.state }).toEqual({ what, state: outcome.state });
      expect({ what, bits: bitsOf(brought.logprobs) }).toEqual({ what, bits: bitsOf(outcome.logprobs) });
      expect({ what, details: brought.details }).toEqual({ what, details: outcome.details });
      const rows = outcome.rows.flatMap((row) => Array.from(row));
      expect({ what, bits: bitsOf(brought.rows.flat()) }).toEqual({ what, bits: bitsOf(rows) });
    }
  }
  driven.scheduler.dispose();
}

/** Each backend once; the other tests of backends show that instruction sets and threads change no bit. */
const machines = candidates.filter(({ name }, i) => !name.startsWith("cpu") || i === candidates.length - 1);

describe.each(machines)("on $name", ({ backend, threads }) => {
  it("each of many sequences gets the tokens it would get alone", async () => {
    const model = await backend.load(source, CONTEXT, { threads: threads[0] });
    fc.assert(
      fc.property(mix, (m) => check(model, m)),
      { seed: 20261129, numRuns: 100 },
    );
    model.dispose();
  });
});
