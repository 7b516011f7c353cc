/*
 * Many prompts at once: each is a generation of its own, and the model's thread reads all of them in shared passes.
 */

import { checkOneOf, checkWhole, show, usage } from "./check.ts";
import { checkGenerateOptions, GENERATE_OPTIONS, type GenerateOptions, nextSeed, seedOf } from "./generateOptions.ts";
import type { Generation } from "./generation.ts";
import type { Config } from "./llama2/transformer.ts";
import { onAbort } from "./run/abort.ts";

export interface GenerateAllOptions extends Omit<GenerateOptions, "onToken" | "onProgress"> {
  /**
   * How many texts may be under way or finished but not taken yet, so that a slow reader does not fill the memory.
   * @default 64
   */
  concurrency?: number;
  /** "prompts": results come in the order of the prompts; "finished": as they finish. @default "prompts" */
  order?: "prompts" | "finished";
}

/** One of many texts, finished. */
export interface GenerateAllResult {
  /** Index of its prompt, from 0. */
  index: number;
  text: string;
  /** Has its tokens, seed, usage and finishReason. */
  generation: Generation;
}

const OPTIONS: readonly (keyof GenerateAllOptions)[] = [
  ...GENERATE_OPTIONS.filter((name) => name !== "onToken" && name !== "onProgress"),
  "concurrency",
  "order",
];

/** @throws Llama2Error E_USAGE */
export function checkGenerateAll(prompts: unknown, options: GenerateAllOptions, config: Readonly<Config>): void {
  checkGenerateOptions(options, config, "generateAll", OPTIONS);
  const { concurrency, order, seed } = options;
  seedOf(seed ?? 0);
  checkWhole("concurrency", concurrency ?? 1, 1, 100_000);
  checkOneOf("order", order ?? "prompts", ["prompts", "finished"]);
  const like = prompts as { [Symbol.iterator]?: unknown; [Symbol.asyncIterator]?: unknown } | null | undefined;
  const isMany = typeof like?.[Symbol.iterator] === "function" || typeof like?.[Symbol.asyncIterator] === "function";
  if (isMany && typeof prompts !== "string") return;
  usage(`the prompts are ${show(prompts)}, expected an array of prompts, or anything that can be iterated`);
}

/**
 * @param begin starts one text
 * @param options.asTokens the texts are not wanted, and there may be no tokenizer
 * @throws what a text throws; the others are then cancelled
 */
export async function* generateAll<Prompt>(
  begin: (prompt: Prompt, options: GenerateOptions) => Generation,
  prompts: Iterable<Prompt> | AsyncIterable<Prompt>,
  { concurrency = 64, order = "prompts", asTokens = false, ...options }: GenerateAllOptions & { asTokens?: boolean },
): AsyncGenerator<GenerateAllResult, void> {
  const first = seedOf(options.seed ?? 0);
  const cancel = new AbortController();
  const stopListening = onAbort(options.signal, () => cancel.abort(options.signal?.reason));
  options.signal?.throwIfAborted();
  const iterator = Symbol.asyncIterator in prompts ? prompts[Symbol.asyncIterator]() : prompts[Symbol.iterator]();
  const underWay: Promise<GenerateAllResult>[] = []; // begun and not yet taken, in the order of the prompts
  let next = 0;
  let exhausted = false;

  const beginNext = async (): Promise<void> => {
    const { value: prompt, done } = await iterator.next();
    exhausted = done === true;
    if (exhausted) return;
    const index = next++;
    const generation = begin(prompt, { ...options, seed: nextSeed(first, index), signal: cancel.signal });
    const result = (asTokens ? withoutText(generation) : generation.text()).then((text) => ({
      index,
      text,
      generation,
    }));
    result.catch(() => {}); // handled when its turn comes
    underWay.push(result);
  };

  try {
    for (;;) {
      while (!exhausted && underWay.length < concurrency) await beginNext();
      if (underWay.length === 0) return;
      const at = order === "prompts" ? 0 : await firstSettled(underWay);
      yield await underWay.splice(at, 1)[0];
    }
  } finally {
    stopListening();
    cancel.abort(new Error("the texts are not wanted any more"));
    await iterator.return?.();
  }
}

/** For a model without a tokenizer: the tokens are generated, the text is empty. */
async function withoutText(generation: Generation): Promise<string> {
  for await (const _ of generation.chunks()); // the generation keeps the tokens
  return "";
}

/** The index of a promise that has settled, the earliest if several have. */
function firstSettled(promises: readonly Promise<unknown>[]): Promise<number> {
  return Promise.race(
    promises.map((promise, i) =>
      promise.then(
        () => i,
        () => i,
      ),
    ),
  );
}
