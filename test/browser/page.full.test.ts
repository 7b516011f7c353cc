/*
 * The library in a web page: dist/browser/, in headless Chromium.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadModel } from "../../src/index.ts";
import { BUNDLED_MODEL } from "../../src/loadModel.ts";
import { hasChromium, needsChromium } from "../helpers/chromium.ts";
import { type GenerateCase, golden, ROOT } from "../helpers/golden.ts";
import { openPage, type Page } from "../helpers/page.ts";

const { cases } = golden<{ cases: GenerateCase[] }>("bundled-model.json");

/** In the page: loads the bundled model and generates the cases. */
const HELPERS = `
  const { loadModel, Llama2Error } = await import("/llama2/index.js");
  const load = (options) => loadModel("/models/stories2M.bin", { tokenizer: "/models/tok2048.bin", ...options });
  const storyOf = async (model, { prompt, temperature, topp, seed, steps, prompt_tokens }, options = {}) => {
    const tokens = [...prompt_tokens];
    let text = "";
    const maxTokens = steps + 1 - prompt_tokens.length;
    const onToken = ({ id }) => tokens.push(id);
    const sampling = { temperature, topP: topp, seed: BigInt(seed) };
    for await (const piece of model.generate(prompt, { ...sampling, maxTokens, eos: false, stop: 1, onToken, ...options })) text += piece;
    return { tokens, text };
  };
  const codeOf = (promise) => promise.then(() => "none", (error) => error instanceof Llama2Error ? error.code : String(error));
`;

describe.skipIf(!hasChromium)(`in a page${needsChromium}`, () => {
  let page: Page;
  const inPage = <T>(body: string, argument?: unknown) => page.run<T>(HELPERS + body, argument);
  beforeAll(async () => {
    page = await openPage({ llama2: join(ROOT, "dist", "browser"), models: join(ROOT, "models") });
  }, 300_000);
  afterAll(() => page?.close());

  it("the wasm backend tells run.c's stories, token by token", async () => {
    const result = await inPage<{ backend: string; threads: number; stories: { tokens: number[] }[] }>(
      `const model = await load();
       const stories = [];
       for (const each of argument) stories.push(await storyOf(model, each));
       await model.dispose();
       return { backend: model.backend, threads: model.threads, stories };`,
      cases,
    );
    expect(result).toMatchObject({ backend: "wasm", threads: 1 });
    for (const [i, { tokens }] of result.stories.entries()) expect(tokens).toEqual(cases[i].tokens);
  });

  it("text and log-probabilities are those of Node", async () => {
    const prompt = "Once upon a time, there was a dog";
    const options = { temperature: 0.9, topP: 0.9, seed: 7, maxTokens: 60 };
    const model = await loadModel(undefined, { backend: "wasm", threads: 1 });
    const node: [number, number][] = [];
    let text = "";
    const onToken = ({ id, logprob }: { id: number; logprob: number }) => node.push([id, logprob]);
    for await (const piece of model.generate(prompt, { ...options, onToken })) text += piece;
    await model.dispose();
    const result = await inPage(
      `const model = await load();
       const tokens = [];
       let text = "";
       const onToken = ({ id, logprob }) => tokens.push([id, logprob]);
       for await (const piece of model.generate(argument.prompt, { ...argument.options, onToken })) text += piece;
       await model.dispose();
       return { tokens, text };`,
      { prompt, options },
    );
    expect(result).toEqual({ tokens: node, text });
  });

  it.each([
    ["a Blob", "model", "tokenizer"],
    ["a File", "new File([model], 'my.bin')", "new File([tokenizer], 'tok.bin')"],
    ["an ArrayBuffer", "await model.arrayBuffer()", "await tokenizer.arrayBuffer()"],
    ["a Uint8Array", "new Uint8Array(await model.arrayBuffer())", "new Uint8Array(await tokenizer.arrayBuffer())"],
    ["a URL", "new URL('/models/stories2M.bin', location.href)", "new URL('/models/tok2048.bin', location.href)"],
  ])("a model and its tokenizer may be %s", async (_, model, tokenizer) => {
    const { tokens } = await inPage<{ tokens: number[] }>(
      `const [model, tokenizer] = await Promise.all(["stories2M", "tok2048"].map(async (name) =>
         (await fetch("/models/" + name + ".bin")).blob()));
       const loaded = await loadModel(${model}, { tokenizer: ${tokenizer}, backend: "wasm" });
       const result = await storyOf(loaded, argument);
       await loaded.dispose();
       return result;`,
      cases[0],
    );
    expect(tokens).toEqual(cases[0].tokens);
  });

  it.each(["/models/stories2M.bin", "blob"])(
    "tells how far it is, from the first byte to the last weight: %s",
    async (source) => {
      const result = await inPage<[number, number][]>(
        `const result = [];
       const source = argument === "blob" ? await (await fetch("/models/stories2M.bin")).blob() : argument;
       const model = await loadModel(source, { tokenizer: "/models/tok2048.bin", onProgress: (done, of) => result.push([done, of]) });
       await model.dispose();
       return result;`,
        source,
      );
      const done = result.map(([done]) => done);
      expect(done).toEqual([...done].sort((a, b) => a - b));
      expect(new Set(result.map(([, of]) => of)).size).toBe(1);
      const [last, of] = result.at(-1) as [number, number];
      expect(last / of).toBeGreaterThan(0.98);
      expect(last).toBeLessThanOrEqual(of);
      const isFetched = source !== "blob";
      expect(of).toBe(isFetched ? 2 * statSync(BUNDLED_MODEL).size : 2_422_848);
      expect(done.some((n) => n <= of / 2)).toBe(true);
    },
  );

  it("what onProgress throws ends it, while the model is fetched", async () => {
    const message = await inPage<string>(
      `return load({ onProgress() { throw new Error("no further"); } }).catch((error) => error.message);`,
      undefined,
    );
    expect(message).toBe("no further");
  });

  it("the option assets names a copy of the folder, and the ts backend tells the same story", async () => {
    const { tokens } = await inPage<{ tokens: number[] }>(
      `const model = await load({ assets: "/llama2", backend: "ts" });
       const result = await storyOf(model, argument);
       await model.dispose();
       return result;`,
      cases[0],
    );
    expect(tokens).toEqual(cases[0].tokens);
  });

  it("int8 tells the same story as in Node", async () => {
    const options = { temperature: 0, maxTokens: 60 };
    const model = await loadModel(undefined, { backend: "wasm", threads: 1, precision: "int8" });
    let text = "";
    for await (const piece of model.generate("One day", options)) text += piece;
    await model.dispose();
    const result = await inPage(
      `const model = await load({ precision: "int8" });
       let text = "";
       for await (const piece of model.generate("One day", argument)) text += piece;
       await model.dispose();
       return { text, precision: model.info.precision };`,
      options,
    );
    expect(result).toEqual({ text, precision: "int8" });
  });

  it("two generations at once give the text that each gives alone", async () => {
    const result = await inPage<{ tokens: number[] }[]>(
      `const model = await load();
       const result = await Promise.all(argument.map((each) => storyOf(model, each)));
       await model.dispose();
       return result;`,
      cases.slice(0, 2),
    );
    expect(result.map(({ tokens }) => tokens)).toEqual(cases.slice(0, 2).map(({ tokens }) => tokens));
  });

  it("dispose resolves during a generation and when called again, and the generation fails with E_USAGE", async () => {
    const result = await inPage(
      `const model = await load();
       const running = codeOf(storyOf(model, argument, { temperature: 1, eos: false }));
       await Promise.all([model.dispose(), model.dispose()]);
       await model.dispose();
       return [await running, await codeOf(storyOf(model, argument))];`,
      cases[0],
    );
    expect(result).toEqual(["E_USAGE", "E_USAGE"]);
  });

  it("a signal stops a download and a story, with its reason", async () => {
    const result = await inPage(
      `const why = (promise) => promise.then(() => "none", (error) => error);
       const early = await why(load({ signal: AbortSignal.abort("too late") }));
       const controller = new AbortController();
       const model = await load();
       const onToken = () => controller.abort("enough");
       const late = await why(storyOf(model, argument, { signal: controller.signal, onToken }));
       await model.dispose();
       return [early, late];`,
      cases[0],
    );
    expect(result).toEqual(["too late", "enough"]);
  });

  it.each([
    ["no model", "loadModel()", "E_USAGE"],
    ["something that is not a model", "loadModel(7)", "E_USAGE"],
    ["an unknown option", "load({ tokeniser: 1 })", "E_USAGE"],
    ["a native backend", 'load({ backend: "cpu" })', "E_USAGE"],
    ["a URL with nothing there", 'loadModel("/models/none.bin", { tokenizer: null })', "E_FILE"],
    ["bytes that are no model", "loadModel(new Uint8Array(100), { tokenizer: null })", "E_FORMAT"],
    ["no tokenizer anywhere", 'loadModel("/models/stories2M.bin")', "E_FORMAT"],
    ["a model as a tokenizer", 'load({ tokenizer: "/models/stories2M.bin" })', "E_FORMAT"],
    ["assets that are not there", 'load({ assets: "/elsewhere/" })', "E_DEVICE_UNAVAILABLE"],
  ])("%s is refused with an error code", async (_, call, code) => {
    expect(await inPage(`return codeOf(${call})`)).toBe(code);
  });
});
