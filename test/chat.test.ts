import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openFile } from "../src/checkpoint/openFile.ts";
import { Conversation } from "../src/conversation.ts";
import { loadModel } from "../src/index.ts";
import { renderPrompt } from "../src/llama2/chat.ts";
import { buildSampler, sample } from "../src/llama2/sampler.ts";
import { EOS, encode } from "../src/llama2/tokenizer.ts";
import { forward } from "../src/llama2/transformer.ts";
import { loadTransformer } from "../src/llama2/weights.ts";
import { makeCheckpoint } from "./helpers/checkpoint.ts";
import { tempDir } from "./helpers/temp.ts";
import { tokenizerFile, vocabOf } from "./helpers/tokenizer.ts";

const folder = tempDir();
const path = join(folder, "model.bin");
writeFileSync(path, makeCheckpoint([16, 40, 2, 4, 4, 300, 600]));
tokenizerFile(vocabOf(300), "tokenizer.bin", folder);

/** run.c 802, as far as its tokens go: all that are fed, and the last that was sampled where the steps end in an
 * answer. */
async function runC(turns: number[][], steps: number, temperature: number, topP: number, seed: bigint) {
  const transformer = await loadTransformer(await openFile(path));
  const sampler = buildSampler(300, temperature, topP, seed);
  const fed: number[] = [];
  let prompt: number[] = [];
  let isUserTurn = true;
  let next = 0;
  while (fed.length < steps) {
    if (isUserTurn) prompt = [...(turns.shift() ?? [])];
    if (isUserTurn && prompt.length === 0) return fed;
    isUserTurn = false;
    const token = prompt.shift() ?? next;
    if (token === EOS) isUserTurn = true;
    next = sample(sampler, forward(transformer, token, fed.length));
    fed.push(token);
  }
  return [...fed, next];
}

describe("a conversation", () => {
  const says = ["Hello", "Tell me more", "And then?", "Good", "Bye"];
  // at so high a temperature all 300 tokens are equally likely, and EOS comes after 300 of them or so
  it.each([
    [1e9, 0, 3n],
    [1e9, 0.99, 3n],
    [1, 0.9, 5n],
    [0, 0.9, 5n],
  ])(
    "has run.c's tokens, with one generator that draws at every position (temperature %d, top-p %d)",
    async (t, p, seed) => {
      const model = await loadModel(path);
      const turns = says.map((text, i) =>
        encode(model.tokenizer.vocabulary, renderPrompt(text, i === 0 ? "Be nice" : ""), true, false),
      );
      const conversation = new Conversation(model, { system: "Be nice", temperature: t, topP: p, seed });
      for (const text of says) {
        if (conversation.ended) break;
        conversation.say(text);
        for await (const _ of conversation.answer());
      }
      const expected = await runC(turns, 600, t, p, seed);
      expect(conversation.tokens.slice(0, expected.length)).toEqual(expected);
      if (t > 1) expect(expected.filter((token) => token === EOS).length).toBeGreaterThan(0);
      await model.dispose();
    },
  );

  it("continues after an answer that was stopped", async () => {
    const model = await loadModel(path, { backend: "ts" });
    const conversation = new Conversation(model, { temperature: 0, seed: 1 });
    conversation.say("Hello");
    const controller = new AbortController();
    const answer = (async () => {
      for await (const _ of conversation.answer({ signal: controller.signal })) controller.abort(new Error("enough"));
    })();
    await expect(answer).rejects.toThrow("enough");
    expect(conversation.tokens.at(-1)).toBe(EOS);
    conversation.say("Go on");
    for await (const _ of conversation.answer()) break;
    await model.dispose();
  });
});

describe("best", () => {
  it("gives the finished answer with the highest mean log-probability; each candidate is what its seed gives alone", async () => {
    const model = await loadModel();
    const progress: string[] = [];
    const onProgress = (ended: number, of: number) => progress.push(`${ended}/${of}`);
    const options = { temperature: 1, seed: 40, maxTokens: 250 };
    const best = model.generate("Once", { ...options, best: 4, onProgress });
    let text = "";
    for await (const piece of best) text += piece;
    expect(progress).toEqual(["1/4", "2/4", "3/4", "4/4"]);

    const alone = [];
    for (let k = 0; k < 4; k++) {
      const logprobs: number[] = [];
      const one = model.generate("Once", {
        ...options,
        seed: 40 + k,
        onToken: ({ logprob }) => logprobs.push(logprob),
      });
      let written = "";
      for await (const piece of one) written += piece;
      const meanLogprob = logprobs.reduce((all, logprob) => all + logprob) / logprobs.length;
      const candidate = {
        seed: BigInt(40 + k),
        ended: one.finishReason === "stop",
        tokens: one.tokens.slice(2),
        meanLogprob,
      };
      alone.push({ candidate, written });
    }
    expect(best.candidates).toEqual(alone.map(({ candidate }) => candidate));
    const eligible = alone.filter(({ candidate }) => candidate.ended);
    expect(eligible.length).toBeGreaterThan(0);
    eligible.sort((a, b) => b.candidate.meanLogprob - a.candidate.meanLogprob);
    expect(text).toBe(eligible[0].written);
    expect(best.seed).toBe(eligible[0].candidate.seed);
    await model.dispose();
  });

  it("is a single candidate at temperature 0", async () => {
    const model = await loadModel();
    const best = model.generate("Once", { temperature: 0, best: 8, maxTokens: 5 });
    for await (const _ of best);
    expect(best.candidates).toBeUndefined();
    await model.dispose();
  });
});
