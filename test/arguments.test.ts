/*
 * Every public function checks its arguments: it works, or the error is typed and suggests what may be meant.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convert, inspect, loadModel, type Model, quantize } from "../src/index.ts";
import { runScript } from "./helpers/child.ts";
import { ROOT } from "./helpers/golden.ts";
import { tempDir } from "./helpers/temp.ts";

// what a caller without types may do
// biome-ignore lint/suspicious/noExplicitAny: it is the point
type Any = any;
const usage = (words: string) => expect.objectContaining({ code: "E_USAGE", message: expect.stringContaining(words) });
const bundled = join(ROOT, "models", "stories2M.bin");

async function textOf(pieces: AsyncIterable<string>): Promise<string> {
  let text = "";
  for await (const piece of pieces) text += piece;
  return text;
}

describe("loadModel", () => {
  it.each<[string, Any[], string]>([
    ["options in place of the path", [{ backend: "ts" }], "Options come second"],
    ["null for a path", [null], "the path of the model is null"],
    ["a number for a path", [5], "the path of the model is 5"],
    ["a URL of the web", [new URL("https://example.com/model.bin")], "expected a file: URL"],
    ["null for options", [undefined, null], "the options of loadModel are null"],
    ["a misspelt option", [undefined, { tokeniser: "x" }], 'Is "tokenizer" meant?'],
    ["an option of another function", [undefined, { temperature: 0 }], 'loadModel has no option "temperature"'],
    ["a backend that does not exist", [undefined, { backend: "gpu" }], 'backend is "gpu", expected auto, cuda'],
    ["a misspelt backend", [undefined, { backend: "WASM" }], 'Is "wasm" meant?'],
    ["onProgress that is no function", [undefined, { onProgress: 5 }], "onProgress is 5"],
    ["threads as text", [undefined, { threads: "2" }], 'threads is "2"'],
    ["no tokens ahead", [undefined, { lookahead: 0 }], "lookahead is 0, expected a whole number from 1 to 15"],
    ["too many tokens ahead", [undefined, { lookahead: 16 }], "lookahead is 16"],
    ["another word for off", [undefined, { lookahead: "none" }], 'lookahead is "none", expected auto, off'],
    ["tokens ahead as null", [undefined, { lookahead: null }], "lookahead is null"],
    ["guesses that are not a path", [undefined, { guesses: 5 }], "guesses is 5"],
    ["a tokenizer that is not a path", [undefined, { tokenizer: 5 }], "tokenizer is 5"],
    [
      "a signal that is not an AbortSignal",
      [undefined, { signal: "stop" }],
      'signal is "stop", expected an AbortSignal',
    ],
    ["a controller for a signal", [undefined, { signal: new AbortController() }], "an AbortController"],
  ])("refuses %s", async (_, args, words) => {
    await expect((loadModel as Any)(...args)).rejects.toThrow(usage(words));
  });

  it("takes file: URLs", async () => {
    const url = (name: string) => pathToFileURL(join(ROOT, "models", name));
    const model = await loadModel(url("stories2M.bin"), { tokenizer: url("tok2048.bin") });
    expect(await textOf(model.generate("Once upon a time", { temperature: 0, maxTokens: 4 }))).toBe(", there was a");
    await model.dispose();
  });
});

describe("a model", () => {
  let model: Any;
  beforeAll(async () => {
    model = (await loadModel()) satisfies Model;
  });
  afterAll(() => model.dispose());

  it.each<[string, (model: Any) => unknown, string]>([
    ["null for a prompt", (m) => m.generate(null), "are null"],
    ["an object for a prompt", (m) => m.generate({ prompt: "Once" }), "are an object"],
    ["numbers that are not whole", (m) => m.generate(new Float32Array([1, 2])), "are a Float32Array"],
    ["a token that is out of range", (m) => m.generate([1, 2048]), "a token is 2048"],
    ["a token that is text", (m) => m.generate([1, "5"]), 'a token is "5"'],
    ["a misspelt option", (m) => m.generate("", { temprature: 0 }), 'Is "temperature" meant?'],
    ["an option in snake_case", (m) => m.generate("", { max_tokens: 5 }), 'Is "maxTokens" meant?'],
    ["temperature as text", (m) => m.generate("", { temperature: "1" }), 'temperature is "1"'],
    ["a seed as text", (m) => m.generate("", { seed: "1" }), 'seed is "1"'],
    ["null for options", (m) => m.generate("", null), "the options of generate are null"],
    ["onToken that is not a function", (m) => m.generate("", { onToken: true }), "onToken is true"],
    ["a best of 0", (m) => m.generate("", { best: 0 }), "best is 0"],
    ["a best of 65", (m) => m.generate("", { best: 65 }), "best is 65"],
    ["a stop that is no token", (m) => m.generate("", { stop: [-1] }), "a token of stop is -1"],
    ["a stop string that is empty", (m) => m.generate("", { stop: "" }), "a string of stop is empty"],
    ["a stop that is neither string nor token", (m) => m.generate("", { stop: [null] }), "stop is null"],
    ["65 stops", (m) => m.generate("", { stop: new Array(65).fill("x") }), "at most 64"],
    ["eos as text", (m) => m.generate("", { eos: "no" }), 'eos is "no", expected true or false'],
    ["a topK that is not whole", (m) => m.generate("", { topK: 1.5 }), "topK is 1.5"],
    ["a minP above 1", (m) => m.generate("", { minP: 2 }), "minP is 2"],
    ["a repetition penalty of 0", (m) => m.generate("", { repetitionPenalty: 0 }), "repetitionPenalty is 0"],
    ["21 alternatives", (m) => m.generate("", { logprobs: 21 }), "logprobs is 21"],
    ["the option of an older version", (m) => m.generate("", { stops: [1] }), 'Is "stop" meant?'],
    ["a text for all prompts", (m) => m.generateAll("Once"), "the prompts are"],
    ["null for all prompts", (m) => m.generateAll(null), "the prompts are null"],
    ["a misspelt order", (m) => m.generateAll([], { order: "prompt" }), 'Is "prompts" meant?'],
    ["onToken for many prompts", (m) => m.generateAll([], { onToken: () => {} }), 'no option "onToken"'],
    ["no concurrency", (m) => m.generateAll([], { concurrency: 0 }), "concurrency is 0"],
    ["a number to decode", (m) => m.tokenizer.decode(5), "the tokens are 5"],
    ["a token out of range to decode", (m) => m.tokenizer.decode([2048]), "a token is 2048"],
    ["null to encode", (m) => m.tokenizer.encode(null), "the text is null"],
    ["logits of text", (m) => m.logits("Once"), "the tokens are"],
    ["logits with a misspelt option", (m) => m.logits([1], { bach: true }), 'Is "batch" meant?'],
  ])("refuses %s", (_, work, words) => {
    expect(() => work(model)).toThrow(usage(words));
  });

  it("score reports refusals through its promise", async () => {
    await expect(model.score(null)).rejects.toThrow(usage("are null"));
    await expect(model.score([1], { sinal: 1 })).rejects.toThrow(usage('Is "signal" meant?'));
  });

  it.each<[string, Any, string]>([
    ["a misspelt option", { systm: "x" }, 'Is "system" meant?'],
    ["a system that is no text", { system: 5 }, "system is 5"],
    ["messages that are none", { messages: "hi" }, 'messages is "hi"'],
    ["a message without content", { messages: [{ role: "user" }] }, "a message is an object"],
    ["an answer before a question", { messages: [{ role: "assistant", content: "x" }] }, 'expected "user"'],
    ["a question without its answer", { messages: [{ role: "user", content: "x" }] }, "the last of the messages"],
    ["a negative temperature", { temperature: -1 }, "temperature is -1"],
  ])("chat refuses %s through its promise", async (_, options, words) => {
    await expect(model.chat(options)).rejects.toThrow(usage(words));
  });

  it("a chat refuses a question that is not a text, and a second one before the answer has ended", async () => {
    const chat = await model.chat();
    expect(() => chat.say(5)).toThrow(usage("what is said is 5"));
    expect(() => chat.say("x", { temperature: 1 })).toThrow(usage('say has no option "temperature"'));
    const answer = chat.say("Hello", { maxTokens: 3 });
    const pieces = answer[Symbol.asyncIterator]();
    await pieces.next();
    expect(() => chat.say("And?")).toThrow(usage("still under way"));
    expect(() => chat.reset()).toThrow(usage("still under way"));
    await pieces.return();
    chat.say("And?");
  });

  it.each([
    ["Int8Array", Int8Array.of(1, 46, 47)],
    ["Int16Array", Int16Array.of(1, 463, 477)],
    ["Uint16Array", Uint16Array.of(1, 463, 477)],
    ["Int32Array", Int32Array.of(1, 463, 477)],
    ["Uint32Array", Uint32Array.of(1, 463, 477)],
    ["BigInt64Array", BigInt64Array.of(1n, 463n, 477n)],
    ["BigUint64Array", BigUint64Array.of(1n, 463n, 477n)],
  ])("takes tokens in a %s", async (_, tokens) => {
    const plain = Array.from(tokens as ArrayLike<number | bigint>, Number);
    const options = { temperature: 0, maxTokens: 4 };
    expect(await textOf(model.generate(tokens, options))).toBe(await textOf(model.generate(plain, options)));
    expect(await model.score(tokens)).toEqual(await model.score(plain));
  });

  it("a generation can be iterated once", async () => {
    const generation = model.generate("Once", { maxTokens: 3 });
    await textOf(generation);
    expect(() => generation[Symbol.asyncIterator]()).toThrow(usage("once"));
  });

  it("two iterations of one generation at the same time do not mix", () => {
    const generation = model.generate("Once", { maxTokens: 3 });
    generation[Symbol.asyncIterator]();
    expect(() => generation[Symbol.asyncIterator]()).toThrow(usage("once"));
  });
});

describe("a disposed model", () => {
  it("answers each request with E_USAGE", async () => {
    const model = await loadModel();
    await model.dispose();
    await expect(textOf(model.generate("Once"))).rejects.toThrow(usage("disposed"));
    await expect(model.score([1, 2])).rejects.toThrow(usage("disposed"));
    await expect(model.logits([1, 2]).next()).rejects.toThrow(usage("disposed"));
  });
});

describe("quantize, convert and inspect", () => {
  const out = join(tempDir(), "out.bin");

  it.each<[string, () => Promise<unknown>, string]>([
    ["quantize null", () => (quantize as Any)(null, out), "is null"],
    ["quantize to nowhere", () => (quantize as Any)(bundled), "is undefined"],
    [
      "quantize with a misspelt option",
      () => (quantize as Any)(bundled, out, { groupsize: 4 }),
      'Is "groupSize" meant?',
    ],
    ["quantize in groups as text", () => (quantize as Any)(bundled, out, { groupSize: "64" }), "64"],
    ["convert null", () => (convert as Any)(null, out), "is null"],
    ["convert to an unknown format", () => (convert as Any)(bundled, out, { to: "v3" }), 'to is "v3"'],
    ["convert with a misspelt option", () => (convert as Any)(bundled, out, { contxt: 4 }), 'Is "context" meant?'],
    ["convert with a negative theta", () => (convert as Any)(bundled, out, { ropeTheta: -1 }), "ropeTheta is -1"],
    ["inspect a number", () => (inspect as Any)(5), "is 5"],
  ])("%s: E_USAGE", async (_, work, words) => {
    await expect(work()).rejects.toThrow(usage(words));
  });

  it("accept file: URLs", async () => {
    const { groupSize } = await quantize(pathToFileURL(bundled), pathToFileURL(out), { groupSize: 32 });
    expect(groupSize).toBe(32);
    expect((await inspect(pathToFileURL(out))).format).toBe("llama2c-v2");
  });
});

describe("in a process of its own", () => {
  it("40 requests share an abort signal without a warning, and it aborts them all", async () => {
    const { code, stdout, stderr } = await runScript(`
      import { loadModel } from "llama2.ts";
      const controller = new AbortController();
      const { signal } = controller;
      const model = await loadModel(undefined, { signal });
      const request = async (maxTokens) => { for await (const _ of model.generate("", { signal, maxTokens })); };
      await Promise.all(Array.from({ length: 40 }, () => request(3)));
      for (let i = 0; i < 40; i++) await request(1);
      const running = Array.from({ length: 40 }, () => request(400));
      setTimeout(() => controller.abort(new Error("enough")), 20);
      const ends = await Promise.allSettled(running);
      console.log(ends.every(({ reason }) => reason?.message === "enough"));
      await model.dispose();`);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "true\n", stderr: "" });
  });
});
