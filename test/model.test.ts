import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { openFile } from "../src/checkpoint/openFile.ts";
import { loadModel, type Model, type Token } from "../src/index.ts";
import { forward } from "../src/llama2/transformer.ts";
import { loadTransformer } from "../src/llama2/weights.ts";
import { checkpointFile, SHAPES } from "./helpers/checkpoint.ts";
import { runScript } from "./helpers/child.ts";
import { type GenerateCase, golden, ROOT } from "./helpers/golden.ts";
import { slowFile, sparseFile } from "./helpers/sparse.ts";

const { cases } = golden<{ cases: GenerateCase[] }>("bundled-model.json");

async function collect(pieces: AsyncIterable<string>): Promise<string> {
  let text = "";
  for await (const piece of pieces) text += piece;
  return text;
}

describe("generate", () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel();
  });
  afterAll(() => model.dispose());

  it.each(cases)("continues $prompt as run.c does (seed $seed, temperature $temperature)", async (c) => {
    const maxTokens = c.steps - c.prompt_tokens.length + 1;
    const options = { temperature: c.temperature, topP: c.topp, seed: BigInt(c.seed), maxTokens };
    const story = model.generate(c.prompt, options);
    expect(c.prompt + (await collect(story))).toBe(c.text);
    expect(story.tokens).toEqual(c.tokens);
  });

  it("yields only new text", async () => {
    expect(await collect(model.generate("Once upon a time", { temperature: 0, maxTokens: 4 }))).toBe(", there was a");
  });

  it("accepts bytes and tokens as a prompt", async () => {
    const options = { temperature: 0, maxTokens: 4 };
    expect(await collect(model.generate(Buffer.from("Once upon a time"), options))).toBe(", there was a");
    expect(await collect(model.generate([1, 463, 477, 261, 418], options))).toBe(", there was a");
  });

  it("reports each new token with its position and log-probability", async () => {
    const tokens: Token[] = [];
    const onToken = (token: Token) => tokens.push(token);
    await collect(model.generate("Once upon a time", { temperature: 1, seed: 5, maxTokens: 6, onToken }));
    expect(tokens.map(({ position }) => position)).toEqual([5, 6, 7, 8, 9, 10]);

    const reference = await loadTransformer(await openFile(`${ROOT}/models/stories2M.bin`));
    const all = [1, 463, 477, 261, 418, ...tokens.map(({ id }) => id)];
    const logprobs = all.slice(0, -1).map((token, pos) => {
      const logits = Array.from(forward(reference, token, pos));
      return logits[all[pos + 1]] - Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
    });
    tokens.forEach(({ logprob }, i) => {
      expect(logprob).toBeCloseTo(logprobs[4 + i], 6);
    });
  });

  it("reports its timings", async () => {
    const story = model.generate("Once", { temperature: 0, maxTokens: 20 });
    expect(story.timings).toBeUndefined();
    await collect(story);
    for (const value of Object.values(story.timings ?? {})) expect(value).toBeGreaterThan(0);
    expect(Object.keys(story.timings ?? {}).sort()).toEqual(
      ["decodeMs", "firstTokenMs", "loadMs", "prefillMs", "sampleMs", "tokensPerSecond"].sort(),
    );
  });

  it("takes a seed from the clock, and reports it", async () => {
    const first = model.generate("", { maxTokens: 30 });
    const text = await collect(first);
    expect(first.seed).toBeGreaterThan(0n);
    expect(await collect(model.generate("", { maxTokens: 30, seed: first.seed }))).toBe(text);
  });

  it("runs several at once, each as if alone", async () => {
    const of = (seed: number) => collect(model.generate("Lily", { seed, maxTokens: 60 }));
    const alone = [await of(1), await of(2), await of(3)];
    expect(await Promise.all([of(1), of(2), of(3)])).toEqual(alone);
  });

  it("stops when its signal aborts, throws the reason, and leaves the model usable", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const slow = await loadModel(undefined, { backend: "ts" });
    const story = slow.generate("", { temperature: 0, signal: controller.signal });
    let pieces = 0;
    const reading = (async () => {
      for await (const _ of story) if (++pieces === 2) controller.abort(reason);
    })();
    await expect(reading).rejects.toBe(reason);
    expect(story.tokens.length).toBeLessThan(100);
    expect(await collect(slow.generate("Once upon a time", { temperature: 0, maxTokens: 4 }))).toBe(", there was a");
    await slow.dispose();
  });

  it("may be abandoned in the middle", async () => {
    for await (const _ of model.generate("", { temperature: 0 })) break;
    expect(await collect(model.generate("Once upon a time", { temperature: 0, maxTokens: 4 }))).toBe(", there was a");
  });

  it("turns lone surrogates into U+FFFD", async () => {
    expect(model.encodePrompt("a\ud800b")).toEqual(model.encodePrompt("a\ufffdb"));
  });

  it.each([
    [{ temperature: -1 }, "temperature"],
    [{ temperature: NaN }, "temperature"],
    [{ temperature: Infinity }, "temperature"],
    [{ topP: 1.1 }, "topP"],
    [{ topP: NaN }, "topP"],
    [{ seed: 1.5 }, "seed"],
    [{ seed: 2n ** 64n }, "seed"],
    [{ maxTokens: -1 }, "maxTokens"],
    [{ maxTokens: 0.5 }, "maxTokens"],
  ])("refuses %o", (options, what) => {
    expect(() => model.generate("", options)).toThrow(expect.objectContaining({ code: "E_USAGE" }));
    expect(() => model.generate("", options)).toThrow(what);
  });

  it("refuses invalid tokens, and an empty list", () => {
    expect(() => model.generate([1, 2048])).toThrow(expect.objectContaining({ code: "E_USAGE" }));
    expect(() => model.generate([])).toThrow(expect.objectContaining({ code: "E_USAGE" }));
  });

  it("refuses a prompt longer than the context, and reads one that fills it", async () => {
    expect(() => model.generate(new Array(513).fill(5))).toThrow(expect.objectContaining({ code: "E_CONTEXT" }));
    const story = model.generate([1, ...new Array(511).fill(5)], { temperature: 0 });
    await collect(story);
    expect(story.tokens.length).toBe(513);
  });

  it("refuses a prompt of 10 MB before it encodes any of it", () => {
    const lookUp = vi.spyOn(model.tokenizer.vocabulary.sortedVocab, "get").mockImplementation(() => {
      throw new Error("something is encoded");
    });
    const prompt = "Once upon a time ".repeat(620_000);
    expect(() => model.generate(prompt)).toThrow(expect.objectContaining({ code: "E_CONTEXT" }));
    lookUp.mockRestore();
  });
});

describe("the caller's event loop", () => {
  it("turns between any two tokens", async () => {
    // a token takes longer than the worker's slices
    const model = await loadModel(slowFile(), { tokenizer: null, backend: "ts", lookahead: "off" });
    const events: string[] = [];
    let timer = setImmediate(function tick() {
      events.push("tick");
      timer = setImmediate(tick);
    });
    for await (const { tokens } of model.generate([1, 5, 7], { temperature: 0, maxTokens: 8 }).slices()) {
      events.push(...tokens.map(() => "token"));
    }
    clearImmediate(timer);
    await model.dispose();
    const gaps = events.join(" ").split("token").slice(1, -1);
    expect(gaps.length).toBeGreaterThan(5);
    expect(gaps.every((gap) => gap.includes("tick"))).toBe(true);
  });
});

describe("loading", () => {
  it("caps the context", async () => {
    const model = await loadModel(undefined, { context: 16 });
    expect(model.config.seqLen).toBe(16);
    const story = model.generate("", { temperature: 0 });
    await collect(story);
    expect(story.tokens.length).toBe(17);
    await model.dispose();
  });

  it("reports its progress, up to all weights, on every backend", async () => {
    for (const backend of ["ts", "wasm", "auto"] as const) {
      const progress: [number, number][] = [];
      const model = await loadModel(undefined, { backend, onProgress: (done, of) => progress.push([done, of]) });
      expect(progress.length).toBeGreaterThan(10);
      expect(progress.map(([done]) => done)).toEqual(progress.map(([done]) => done).sort((a, b) => a - b));
      expect(progress.every(([, of]) => of === model.info.parameters)).toBe(true);
      expect((progress.at(-1)?.[0] ?? 0) / model.info.parameters).toBeGreaterThan(0.98);
      await model.dispose();
    }
  });

  it("what onProgress throws ends it", async () => {
    const reason = new Error("no further");
    const onProgress = () => {
      throw reason;
    };
    await expect(loadModel(undefined, { onProgress })).rejects.toBe(reason);
  });

  it("stops when its signal aborts", async () => {
    const reason = new Error("never mind");
    await expect(loadModel(undefined, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const loading = loadModel(sparseFile(SHAPES["15M"]), { tokenizer: null, signal: controller.signal });
    controller.abort(reason);
    await expect(loading).rejects.toBe(reason);
  });

  it("refuses a named backend that is not available, although others are", async () => {
    await expect(loadModel(undefined, { backend: "cuda" })).rejects.toMatchObject({ code: "E_DEVICE_UNAVAILABLE" });
  });

  it("needs no tokenizer if none is asked for", async () => {
    const model = await loadModel(checkpointFile(SHAPES.tiny), { tokenizer: null });
    expect(() => model.generate("text")).toThrow(expect.objectContaining({ code: "E_USAGE" }));
    await model.dispose();
  });
});

describe("dispose", () => {
  it("may be called twice, also at once", async () => {
    const model = await loadModel();
    await Promise.all([model.dispose(), model.dispose()]);
    await model.dispose();
  });

  it("ends running requests, and refuses later ones", async () => {
    const model = await loadModel(undefined, { backend: "ts" });
    const story = (async () => {
      for await (const _ of model.generate("", { temperature: 0 })) model.dispose();
    })();
    await expect(story).rejects.toThrow("disposed");
    await model.dispose();
    await expect(collect(model.generate("x"))).rejects.toThrow("disposed");
  });

  it("works with `await using`", async () => {
    const model = await loadModel();
    await model[Symbol.asyncDispose]();
    await expect(collect(model.generate("x"))).rejects.toThrow("disposed");
  });
});

describe("in a process of its own", () => {
  it("the package's name imports it", async () => {
    const { stdout, code } = await runScript(`
      import { loadModel } from "llama2.ts";
      const model = await loadModel();
      for await (const piece of model.generate("Once upon a time", { temperature: 0, maxTokens: 4 })) process.stdout.write(piece);
      await model.dispose();`);
    expect({ stdout, code }).toEqual({ stdout: ", there was a", code: 0 });
  });

  it("a model that was not disposed does not keep it alive", async () => {
    const { code, signal } = await runScript(`
      import { loadModel } from "llama2.ts";
      const model = await loadModel();
      for await (const piece of model.generate("")) break;`);
    expect({ code, signal }).toEqual({ code: 0, signal: null });
  });

  it("process.exit in the middle of a token is clean", async () => {
    const { code, stderr } = await runScript(`
      import { loadModel } from "llama2.ts";
      const model = await loadModel(undefined, { backend: "ts" });
      for await (const piece of model.generate("", { temperature: 0 })) process.exit(7);`);
    expect({ code, stderr }).toEqual({ code: 7, stderr: "" });
  });

  it("garbage collection in the middle of a generation is harmless", async () => {
    const { code, stdout, stderr } = await runScript(`
      import { loadModel } from "llama2.ts";
      let story = (await loadModel()).generate("Once upon a time", { temperature: 0, maxTokens: 40 });
      let text = "";
      for await (const piece of story) { text += piece; gc(); }
      process.stdout.write(text.slice(0, 13));`);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: ", there was a", stderr: "" });
  });
});
