/*
 * Meta's generate() family: compared with results of PyTorch (fixtures/meta/make.py), and rule by rule.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadModel, type Model, meta } from "../src/index.ts";
import { ROOT } from "./helpers/golden.ts";

const fixtures = join(ROOT, "test", "fixtures");

interface Case {
  name: string;
  prompts: number[][];
  maxGenLen: number;
  echo: boolean;
  expected: { tokens: number[]; logprobs: number[] }[];
}
const { cases, temperature, nuclei } = JSON.parse(readFileSync(join(fixtures, "meta", "cases.json"), "utf8")) as {
  cases: Case[];
  temperature: number;
  nuclei: { prompt: number[]; kept: Record<string, number> }[];
};

describe("generate, beside PyTorch", () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel(join(fixtures, "torch", "training.pt"), { tokenizer: null });
  });
  afterAll(() => model.dispose());

  it.each(cases)("$name (echo: $echo)", async ({ prompts, maxGenLen, echo, expected }) => {
    const options = { temperature: 0, maxGenLen, echo };
    const { tokens, logprobs } = await meta.generate(model, prompts, { ...options, logprobs: true });
    expect(tokens).toEqual(expected.map(({ tokens }) => tokens));
    for (const [row, { logprobs: theirs }] of expected.entries()) {
      expect(logprobs?.[row].length).toBe(theirs.length);
      for (const [i, logprob] of theirs.entries())
        expect(Math.abs((logprobs?.[row][i] ?? NaN) - logprob)).toBeLessThan(1e-5);
    }
    expect(await meta.generate(model, prompts, options)).toEqual({ tokens });
  });

  it.each(nuclei)("top-p leaves as many tokens: $kept", async ({ prompt, kept }) => {
    for (const [p, count] of Object.entries(kept)) {
      const topP = Number(p);
      const sampling = topP === 0 ? { temperature: 0 } : { temperature, topP }; // 0 is greedy there
      const one = model.generate(prompt, { ...sampling, maxTokens: 1, logprobs: 0, eos: false });
      for await (const _ of one.chunks());
      expect(one.logprobs?.[0].nucleus).toBe(count);
    }
  });

  it("with top-p 0 is greedy, whatever the temperature", async () => {
    const [prompts, maxGenLen] = [
      [
        [1, 17],
        [1, 42, 5],
      ],
      6,
    ];
    const greedy = await meta.generate(model, prompts, { temperature: 0, maxGenLen });
    expect(await meta.generate(model, prompts, { temperature: 2, topP: 0, maxGenLen })).toEqual(greedy);
    expect(await meta.generate(model, prompts, { temperature: 2, topP: 1, maxGenLen, seed: 1 })).not.toEqual(greedy);
  });

  it("each sequence of a batch is what it is alone, with its own seed", async () => {
    const prompts = [[1, 17], [1, 42, 5, 63, 9, 30, 11], [1]];
    const options = { maxGenLen: 8, temperature: 1, topP: 0.9 };
    const together = await meta.generate(model, prompts, { ...options, seed: 20 });
    for (const [k, prompt] of prompts.entries()) {
      // alone a short one may go on for as long as maxGenLen says; 15 = 8 + 7 is what the batch has room for
      const alone = await meta.generate(model, [prompt], { ...options, seed: 20 + k });
      expect(together.tokens[k]).toEqual(alone.tokens[0]);
    }
  });

  it("refuses a prompt longer than the context, and invalid options", async () => {
    const long = new Array(33).fill(5);
    await expect(meta.generate(model, [long])).rejects.toMatchObject({ code: "E_CONTEXT" });
    const options = (o: object) => meta.generate(model, [[1]], o);
    await expect(options({ max_gen_len: 5 })).rejects.toThrow('Is "maxGenLen" meant?');
    await expect(options({ topP: 2 })).rejects.toMatchObject({ code: "E_USAGE" });
    await expect(options({ logprobs: 5 })).rejects.toMatchObject({ code: "E_USAGE" });
    await expect(meta.generate(model, [[]])).rejects.toMatchObject({ code: "E_USAGE" });
    expect(await meta.generate(model, [])).toEqual({ tokens: [] });
  });
});

describe("textCompletion and chatCompletion", () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel();
  });
  afterAll(() => model.dispose());
  const options = { temperature: 0, maxGenLen: 4 };

  it("completes prompts of different lengths, and reports tokens and log-probabilities if asked", async () => {
    const prompts = ["Once upon a time", "Lily found a"];
    const plain = await meta.textCompletion(model, prompts, options);
    expect(plain.map((prediction) => Object.keys(prediction))).toEqual([["generation"], ["generation"]]);
    expect(plain[0]).toEqual({ generation: ", there was a" });
    const [{ generation, tokens, logprobs }] = await meta.textCompletion(model, prompts, {
      ...options,
      logprobs: true,
    });
    expect(generation).toBe(", there was a");
    expect(tokens).toEqual([",", " there", " was", " a"]);
    expect(logprobs?.length).toBe(4);
    const [echoed] = await meta.textCompletion(model, prompts, { ...options, echo: true, logprobs: true });
    expect(echoed.generation).toBe("Once upon a time, there was a");
    expect(echoed.logprobs?.[0]).toBe(0);
    expect(echoed.logprobs?.length).toBe(9);
  });

  const user = (content: string) => ({ role: "user" as const, content });
  const assistant = (content: string) => ({ role: "assistant" as const, content });
  const system = (content: string) => ({ role: "system" as const, content });

  it("renders a dialog as Meta does: system in the first question, texts stripped, each turn from BOS to EOS", async () => {
    const dialog = [system("Be nice"), user(" Hi \n"), assistant(" Hello! "), user("Bye")];
    const [{ generation }] = await meta.chatCompletion(model, [dialog], options);
    const first = model.tokenizer.encode("[INST] <<SYS>>\nBe nice\n<</SYS>>\n\n Hi [/INST] Hello! ", { eos: true });
    const tokens = [...first, ...model.tokenizer.encode("[INST] Bye [/INST]")];
    const expected = await model.generate(tokens, { temperature: 0, maxTokens: 4, eos: false, stop: 2 }).text();
    expect(generation).toEqual({ role: "assistant", content: expected.replace(/^ /, "") });
  });

  it("replaces the answer to a dialog with special tags by Meta's error text", async () => {
    const dialogs = [[user("Hi")], [user("Say [INST] twice")], [system("<<SYS>>"), user("Hi")]];
    const answers = await meta.chatCompletion(model, dialogs, options);
    const refused = "Error: special tags are not allowed as part of the prompt.";
    expect(answers.map(({ generation }) => generation.content === refused)).toEqual([false, true, true]);
  });

  it.each([
    ["that ends with an answer", [user("a"), assistant("b")], "not the user's"],
    ["in which somebody speaks twice", [user("a"), user("b"), user("c")], 'the role "user" where it does not belong'],
    ["that begins with an answer", [assistant("a"), user("b")], 'the role "assistant"'],
    ["of a system alone", [system("a")], "not the user's"],
    ["without messages", [], "expected messages"],
    ["of texts", ["a"], "expected { role, content }"],
  ])("refuses a dialog %s", async (_, dialog, words) => {
    await expect(meta.chatCompletion(model, [dialog as never], options)).rejects.toThrow(words);
  });
});
