/*
 * Odd arguments to public functions, as callers without types give them: the call works, or the error is typed.
 * Every function that the package exports is tried, also new ones.
 */
import { inspect } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { GENERATE_OPTIONS } from "../src/generateOptions.ts";
import * as library from "../src/index.ts";

const { Llama2Error, loadModel, openTrace, loadTokenizer, meta } = library;

const ODD: unknown[] = [
  ...[undefined, null, true, NaN, Infinity, -Infinity, -0, 1.5, -1, 2 ** 53, 1n, "", "1", "\ud800", "a\0b"],
  ...[{}, [], [NaN], [1n], ["1"], new Array(1), Symbol("odd"), () => 1, new Date(0), new Number(1), /x/, new Map()],
  ...[new Float32Array(1), new ArrayBuffer(1), Promise.resolve(), Object.create(null), new Proxy({}, {})],
];

type Call = (...args: unknown[]) => unknown;

/** Call it, and read on what it gives. What is thrown on the way, unless it is one of ours. */
async function untyped(call: Call, args: unknown[]): Promise<unknown> {
  try {
    const result = (await call(...args)) as Partial<AsyncGenerator & library.Model> | undefined;
    if (result?.[Symbol.asyncIterator] && result.next) await result.next();
    await result?.dispose?.();
    return undefined;
  } catch (error) {
    return error instanceof Llama2Error ? undefined : error;
  }
}

/** Every call of these functions with one odd argument instead of a good one. */
async function untypedOf(functions: [name: string, call: Call, good: unknown[]][]): Promise<string[]> {
  const found = new Set<string>();
  for (const [name, call, good] of functions) {
    for (let place = 0; place < good.length; place++) {
      for (const odd of ODD) {
        const error = await untyped(call, [...good.slice(0, place), odd, ...good.slice(place + 1)]);
        if (error) found.add(`${name}, argument ${place}: ${error}`);
      }
    }
  }
  return [...found];
}

let model: library.Model;
let run: library.TracedRun;
let receipt: library.Receipt;
beforeAll(async () => {
  model = await loadModel(undefined, { backend: "ts", context: 16 });
  run = (await openTrace()).run("Once");
  const story = model.generate("Once", { maxTokens: 2, seed: 1 });
  await story.text();
  receipt = await model.receipt(story);
});
afterAll(() => model.dispose());

/** Public methods of an object, which is made again for each call. */
const methods = (make: () => object, names: string[], good: unknown[]) =>
  names.map((name): [string, Call, unknown[]] => [
    name,
    (...args) => (make() as Record<string, Call>)[name](...args),
    good,
  ]);

it("functions refuse odd arguments with typed errors", async () => {
  const place = { id: "probs", layer: 0, pos: 0, tensor: "att", index: 0 };
  const good: Record<string, unknown[]> = {
    perplexity: [model, ["Once"]],
    ablation: [["L0"], model.config],
    diff: [run.at(0).stops, run.at(0).stops, 0],
    explain: [run, place],
    why: [run, place, 1],
    lensAt: [run, 0, place],
    sharesOf: [run, 0, 1],
    npz: [run.at(0).stops, 32],
    bench: [{}],
    doctor: [],
    fit: ["missing.bin", {}],
    loadModel: [undefined, { backend: "ts" }],
    openTrace: [undefined, {}],
    quantize: ["missing.bin", "out.bin", {}],
    convert: ["missing.bin", "out.bin", {}],
    verify: [receipt, model, {}],
    "meta.generate": [model, [[1]], { maxGenLen: 1 }],
    "meta.completions": [model, [[1]], { maxGenLen: 1 }],
    "meta.textCompletion": [model, ["Once"], { maxGenLen: 1 }],
    "meta.chatCompletion": [model, [[{ role: "user", content: "Hi" }]], { maxGenLen: 1 }],
  };
  const ofMeta = Object.entries(meta).map(([name, value]): [string, unknown] => [`meta.${name}`, value]);
  const functions = [...Object.entries(library), ...ofMeta].filter(
    ([name, value]) => /^[a-z]/.test(name) && typeof value === "function",
  ) as [string, Call][];
  expect(functions.length).toBeGreaterThan(10);
  expect(await untypedOf(functions.map(([name, call]) => [name, call, good[name] ?? [undefined]]))).toEqual([]);
});

it("methods of a model, a chat and a tokenizer refuse them, too", async () => {
  const tokenizer = await loadTokenizer();
  const chat = await model.chat();
  const named = ["generate", "generateAll", "logits", "score", "encodePrompt", "chat", "receipt"];
  const found = await untypedOf([
    ...methods(() => model, named, ["Once", { maxTokens: 1 }]),
    ...methods(() => tokenizer, ["encode", "decode", "piece"], ["Once"]),
    ...methods(() => tokenizer.decoder(), ["push"], [5]),
    ...methods(() => chat, ["say"], ["Once", { maxTokens: 1 }]),
  ]);
  expect(found).toEqual([]);
});

it.each(GENERATE_OPTIONS)("generate refuses odd values of %s with typed errors", async (name) => {
  const generate: Call = async (value) => {
    for await (const _ of model.generate("Once", { maxTokens: 1, [name]: value } as object)) break;
  };
  for (const odd of ODD) expect(await untyped(generate, [odd]), inspect(odd)).toBeUndefined();
});
