/*
 * run.c's stories with lookahead: whatever is guessed, the tokens, the generator and the logits are run.c's.
 */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { LoadedModel } from "../../src/backend/backend.ts";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { buildSampler } from "../../src/llama2/sampler.ts";
import { BOS } from "../../src/llama2/tokenizer.ts";
import { type Guesser, TableGuesser } from "../../src/run/guess.ts";
import { GuessTable } from "../../src/run/guessTable.ts";
import type { SequenceRequest } from "../../src/run/protocol.ts";
import { advance } from "../../src/run/sequence.ts";
import { candidates } from "../helpers/backends.ts";
import { DrivenScheduler } from "../helpers/drivenScheduler.ts";
import { FULL } from "../helpers/full.ts";
import {
  type GenerateCase,
  golden,
  hasShared,
  needsShared,
  ROOT,
  sharedFile,
  sharedGolden,
} from "../helpers/golden.ts";
import { KnowingGuesser } from "../helpers/guessers.ts";

const request = (c: GenerateCase, want: SequenceRequest["want"]): SequenceRequest => ({
  tokens: c.prompt_tokens,
  maxTokens: c.steps + 1 - c.prompt_tokens.length,
  stops: [BOS],
  sampling: { temperature: c.temperature, topP: c.topp, state: BigInt(c.seed) },
  want,
});

/** One that knows the stories, and is often wrong. */
function knowing(cases: GenerateCase[], vocabSize: number): Guesser {
  const guesser = new KnowingGuesser(7, 0.8, vocabSize);
  for (const { tokens } of cases) guesser.know(tokens);
  return guesser;
}

/** One that has read them. */
function learned(cases: GenerateCase[]): Guesser {
  const guesser = new TableGuesser(new GuessTable(), 15);
  for (const { tokens } of cases) guesser.learn(tokens, 0);
  return guesser;
}

/** Tell all of them, so many at once, and compare. */
function check(model: LoadedModel, cases: GenerateCase[], guesser: Guesser, atOnce: number, vocabSize: number): void {
  const driven = new DrivenScheduler(model, vocabSize, atOnce, guesser);
  driven.scheduler.add(
    0,
    cases.map((c) => request(c, "logits")),
  );
  driven.runToEnd();
  let accepted = 0;
  for (const [k, c] of cases.entries()) {
    const { tokens, rows, last } = driven.of(0, k);
    expect([...c.prompt_tokens, ...tokens]).toEqual(c.tokens);
    expect(`${last?.state}`).toBe(c.rng_state);
    accepted += last?.ahead?.accepted ?? 0;
    if (c.prompt_tokens.length > 1 || c.forwards !== tokens.length) continue; // not all of its rows are reported
    const hash = createHash("sha256");
    for (const some of rows) hash.update(Float32Array.from(some));
    expect(hash.digest("hex")).toBe(c.logits_sha256);
  }
  expect(accepted).toBeGreaterThan(10 * cases.length); // otherwise this test proves nothing
  driven.scheduler.dispose();
}

const bundled = golden<{ cases: GenerateCase[] }>("bundled-model.json").cases;
const shared = hasShared ? sharedGolden<{ cases: GenerateCase[] }>("generate-stories260K.json").cases : [];
const models = [
  { name: "the bundled model", path: `${ROOT}/models/stories2M.bin`, vocab: 2048, cases: bundled },
  { name: `stories260K${needsShared}`, path: sharedFile("models/stories260K.bin"), vocab: 512, cases: shared },
];
/** The reference reads one token in each pass. */
const wide = candidates.filter(({ name }) => name !== "ts");

describe.each(models)("run.c's stories by $name", ({ path, vocab, cases }) => {
  describe.skipIf(cases.length === 0).each(wide)("on $name", ({ backend, threads }) => {
    it.each(threads)("are generated one by one and all at once (%s threads)", async (count) => {
      const source = await openFile(path);
      const model = await backend.load(source, source.config.seqLen, { threads: count });
      check(model, cases, knowing(cases, vocab), 1, vocab);
      check(model, cases, learned(cases), cases.length, vocab);
      if (FULL) check(model, cases, learned(cases), 1, vocab);
      if (FULL) check(model, cases, knowing(cases, vocab), cases.length, vocab);
      model.dispose();
      source.close();
    });
  });
});

describe("the generator", () => {
  it("has drawn once for each token, wherever the sequence ends", async () => {
    const source = await openFile(`${ROOT}/models/stories2M.bin`);
    const model = await candidates[candidates.length - 1].backend.load(source, 64, { threads: 1 });
    const [c] = golden<{ cases: GenerateCase[] }>("bundled-model.json").cases.filter(({ seed }) => seed === "42");
    const driven = new DrivenScheduler(model, 2048, 1, knowing([c], 2048));
    for (let tokens = 1; tokens < 40; tokens++) {
      driven.scheduler.add(tokens, [{ ...request(c, "tokens"), maxTokens: tokens }]);
      driven.runToEnd();
      const { last } = driven.of(tokens);
      expect(last?.state).toBe(advance(buildSampler(2048, 1, 0.9, 42n), 42n, tokens));
    }
    driven.scheduler.dispose();
    model.dispose();
    source.close();
  });
});
