/*
 * The library beyond a single generation: stop strings, many prompts at once, scores, a decoder, and how a
 * generation ends.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadModel, type Model, type Token } from "../src/index.ts";
import { runScript } from "./helpers/child.ts";
import { slowFile } from "./helpers/sparse.ts";

let model: Model;
beforeAll(async () => {
  model = await loadModel();
});
afterAll(() => model.dispose());

const greedy = { temperature: 0 };

describe("the tokenizer", () => {
  it("encodes and decodes, also token by token, with characters held back until they are complete", () => {
    const { tokenizer } = model;
    const text = "Once upon a time, café 😀\n";
    const tokens = tokenizer.encode(text);
    expect(tokens.slice(0, 5)).toEqual([1, 463, 477, 261, 418]);
    expect(tokenizer.encode(text, { bos: false, eos: true })).toEqual([...tokens.slice(1), 2]);
    expect(tokenizer.decode(tokens)).toBe(text);
    const decoder = tokenizer.decoder();
    const pieces = tokens.map((token) => decoder.push(token));
    expect(pieces.join("") + decoder.end()).toBe(text);
    expect(pieces.filter((piece) => piece.includes("\ufffd"))).toEqual([]);
    expect(tokenizer.decode(tokenizer.encode("😀").slice(0, 3))).toBe("\ufffd");
  });
});

describe("stop", () => {
  const story = "Lily found a red ball";
  let text: string;
  let tokens: number[];
  beforeAll(async () => {
    const whole = model.generate(story, { ...greedy, maxTokens: 60 });
    text = await whole.text();
    tokens = whole.tokens;
  });

  it("a string ends the text before it, however it is split into tokens", async () => {
    for (const [from, length] of [
      [20, 3],
      [33, 11],
      [40, 7],
    ]) {
      const stop = text.slice(from, from + length);
      const stopped = model.generate(story, { ...greedy, maxTokens: 60, stop });
      let shown = "";
      for await (const piece of stopped) {
        shown += piece;
        expect(text.slice(0, text.indexOf(stop)).startsWith(shown)).toBe(true);
      }
      expect(shown).toBe(text.slice(0, text.indexOf(stop)));
      expect(stopped.finishReason).toBe("stop");
      const so = model.tokenizer.decode(stopped.tokens).slice(story.length);
      expect(so.includes(stop)).toBe(true);
      expect(model.tokenizer.decode(stopped.tokens.slice(0, -1)).slice(story.length)).not.toContain(stop);
    }
  });

  it("a token ends the text, and is not part of it", async () => {
    const at = 12;
    const stopped = model.generate(story, { ...greedy, stop: [tokens[at], "never"] });
    await stopped.text();
    expect(stopped.tokens).toEqual(tokens.slice(0, tokens.indexOf(tokens[at])));
    expect(stopped.finishReason).toBe("stop");
  });

  it("the generator's state is that at the end of the text, even if the thread was ahead", async () => {
    const options = { seed: 3, maxTokens: 80 };
    const whole = model.generate(story, options);
    const all = await whole.text();
    const stop = all.slice(30, 34);
    const stopped = model.generate(story, { ...options, stop });
    await stopped.text();
    const goesOn = model.generate(stopped.tokens, { ...options, seed: stopped.state });
    await goesOn.text();
    expect(goesOn.tokens.slice(0, whole.tokens.length)).toEqual(whole.tokens);
  });

  it("cuts each candidate of best", async () => {
    const options = { seed: 5, maxTokens: 120 };
    const best = model.generate(story, { ...options, best: 3, stop: "." });
    const results = await best.text();
    expect(results).not.toContain(".");
    for (const { seed, tokens } of best.candidates ?? []) {
      const alone = model.generate(story, { ...options, seed, stop: "." });
      await alone.text();
      expect(alone.tokens.slice(alone.promptTokens.length)).toEqual(tokens);
    }
  });
});

describe("a generation", () => {
  it("echoes its prompt, as text, bytes and tokens", async () => {
    const options = { ...greedy, maxTokens: 4, echo: true };
    for (const prompt of ["Once upon a time", Buffer.from("Once upon a time"), [1, 463, 477, 261, 418]]) {
      expect(await model.generate(prompt, options).text()).toBe("Once upon a time, there was a");
    }
  });

  it("has usage, and is a stream that can be cancelled", async () => {
    const story = model.generate("Once", { ...greedy, maxTokens: 10 });
    const reader = story.toReadableStream().getReader();
    expect(typeof (await reader.read()).value).toBe("string");
    await reader.cancel();
    expect(story.finishReason).toBe("cancelled");
    const whole = model.generate("Once", { ...greedy, maxTokens: 10 });
    let text = "";
    for await (const piece of whole.toReadableStream()) text += piece;
    expect(text).toBe(await model.generate("Once", { ...greedy, maxTokens: 10 }).text());
    expect(whole.usage).toEqual({ promptTokens: 2, completionTokens: 10, totalTokens: 12 });
  });

  it("has timings and a reason also after a cancel", async () => {
    const slow = await loadModel(slowFile(), { backend: "ts", tokenizer: null });
    const controller = new AbortController();
    const story = slow.generate([1, 5], { ...greedy, eos: false, signal: controller.signal });
    const reading = (async () => {
      for await (const _ of story.chunks()) controller.abort(new Error("enough"));
    })();
    await expect(reading).rejects.toThrow("enough");
    expect(story.finishReason).toBe("cancelled");
    expect(story.timings?.prefillMs).toBeGreaterThan(0);
    await slow.dispose();
  });

  it("needs no tokenizer for tokens", async () => {
    const bare = await loadModel(undefined, { tokenizer: null });
    const story = bare.generate([1, 463, 477, 261, 418], { ...greedy, maxTokens: 4 });
    expect(() => story[Symbol.asyncIterator]()).toThrow(expect.objectContaining({ code: "E_USAGE" }));
    const ids: number[] = [];
    for await (const { text, tokens } of story.chunks()) {
      expect(text).toBe("");
      ids.push(...tokens.map(({ id }) => id));
    }
    expect(model.tokenizer.decode([1, ...ids])).toBe(", there was a");
    await bare.dispose();
  });

  it("reports with logprobs how each token was chosen", async () => {
    const seen: Token[] = [];
    const onToken = (token: Token) => seen.push(token);
    const story = model.generate("Once upon", {
      temperature: 1,
      topP: 0.9,
      seed: 7,
      maxTokens: 8,
      logprobs: 3,
      onToken,
    });
    await story.text();
    expect(story.logprobs).toEqual(seen);
    for (const { id, logprob, rank, nucleus, coin, top } of seen) {
      expect(top?.length).toBe(3);
      if ((rank as number) < 3) expect(top?.[rank as number]).toEqual({ id, logprob });
      expect(rank).toBeLessThan(nucleus as number);
      expect(coin).toBeGreaterThanOrEqual(0);
      expect(coin).toBeLessThan(1);
    }
    const firm = model.generate("Once upon", { ...greedy, maxTokens: 2, logprobs: 0 });
    await firm.text();
    expect(firm.logprobs?.map(({ rank, nucleus, coin, top }) => [rank, nucleus, coin, top])).toEqual([
      [0, 1, undefined, []],
      [0, 1, undefined, []],
    ]);
  });
});

describe("score", () => {
  it("of a text is the log-softmax of the logits, with ranks and alternatives if asked for", async () => {
    const text = "Once upon a time";
    const tokens = model.tokenizer.encode(text);
    const scored = await model.score(text, { logprobs: 2 });
    expect(scored.map(({ id }) => id)).toEqual(tokens.slice(1));
    const rows: number[] = [];
    for await (const some of model.logits(tokens.slice(0, -1))) rows.push(...some);
    let i = 0;
    while (i < tokens.length - 1) {
      const logits = rows.slice(i * 2048, (i + 1) * 2048);
      const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
      const { id, position, logprob, rank, top } = scored[i++];
      expect(position).toBe(i);
      expect(Math.abs(logprob - (logits[id] - total))).toBeLessThan(1e-6);
      const order = logits.map((_, token) => token).sort((a, b) => logits[b] - logits[a] || a - b);
      expect(rank).toBe(order.indexOf(id));
      expect(top?.map(({ id }) => id)).toEqual(order.slice(0, 2));
    }
    expect(await model.score(tokens)).toEqual(scored.map(({ id, position, logprob }) => ({ id, position, logprob })));
  });
});

describe("generateAll", () => {
  const prompts = ["Once", "Lily found", "One day", "", "Tom", "A dog", "The"];
  const options = { seed: 11, maxTokens: 40 };
  const alone = async (k: number) => model.generate(prompts[k], { ...options, seed: 11 + k }).text();

  it("gives each prompt the text that it gets alone, in order, with its own seed", async () => {
    const results = [];
    for await (const { index, text, generation } of model.generateAll(prompts, { ...options, concurrency: 3 })) {
      expect(generation.seed).toBe(BigInt(11 + index));
      expect(generation.promptTokens).toEqual(model.encodePrompt(prompts[index]));
      results.push([index, text]);
    }
    const expected = await Promise.all(prompts.map(async (_, k) => [k, await alone(k)]));
    expect(results).toEqual(expected);
  });

  it("or gives them as they finish: a short one does not wait for a long one", async () => {
    const order: number[] = [];
    const [long, short] = [model.encodePrompt("Once upon a time"), new Array(510).fill(5)];
    const all = model.generateAll([long, short], { ...greedy, maxTokens: 300, eos: false, order: "finished" });
    for await (const { index } of all) order.push(index);
    expect(order).toEqual([1, 0]);
  });

  it("starts no more prompts than the reader has room for", async () => {
    let asked = 0;
    async function* endless() {
      for (;;) yield `${asked++}`;
    }
    let taken = 0;
    for await (const _ of model.generateAll(endless(), { ...greedy, maxTokens: 2, concurrency: 4 })) {
      expect(asked).toBeLessThanOrEqual(4 + taken++);
      if (taken === 10) break;
    }
    expect(asked).toBeLessThanOrEqual(14);
  });

  it("fails when the first prompt fails, and cancels the others", async () => {
    const tooLong = new Array(600).fill(5);
    const all = model.generateAll([[1], tooLong, [1, 5]], { ...greedy, maxTokens: 3, concurrency: 1 });
    expect((await all.next()).value?.index).toBe(0);
    await expect(all.next()).rejects.toMatchObject({ code: "E_CONTEXT" });
    expect(await all.next()).toEqual({ value: undefined, done: true });
  });

  it("ends when its signal aborts", async () => {
    const controller = new AbortController();
    const all = model.generateAll(["a", "b", "c"], { maxTokens: 500, eos: false, signal: controller.signal });
    const reading = all.next();
    controller.abort(new Error("enough"));
    await expect(reading).rejects.toThrow("enough");
  });
});

describe("in a process of its own, a model without references", () => {
  const prelude = `
    import { readdirSync } from "node:fs";
    import { loadModel } from "llama2.ts";
    const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const threads = () => readdirSync("/proc/self/task").length;`;

  it.skipIf(process.platform !== "linux")("gives its thread back", async () => {
    const { code, stdout, stderr } = await runScript(`${prelude}
      let model = await loadModel();
      await model.generate("Once", { maxTokens: 3 }).text();
      const before = threads();
      model = undefined;
      for (let i = 0; i < 500 && threads() >= before; i++) { gc(); await wait(10); }
      console.log(threads() < before);`);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "true\n", stderr: "" });
  });

  it("still finishes its story", async () => {
    const { code, stdout, stderr } = await runScript(`${prelude}
      const begin = async () => (await loadModel(undefined, { backend: "ts" })).generate("Once", { temperature: 0, maxTokens: 40 });
      const story = await begin();
      for await (const _ of story) { gc(); await wait(1); }
      console.log(story.finishReason, story.usage.completionTokens === 40);`);
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^(stop|length) true\n$/),
      stderr: "",
    });
  });
});
