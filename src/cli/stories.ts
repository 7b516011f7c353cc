/*
 * llama2 -N: many stories at once.
 */
import { type Generation, nextSeed, type Timings } from "../generation.ts";
import type { Model } from "../model.ts";
import { TextStream } from "../text.ts";
import { endProgress, print, showProgress, TextOutput } from "./io.ts";
import type { StoryJson } from "./storyJson.ts";

/** Between two stories. */
const SEPARATOR = "<|end|>\n";

/**
 * Print `count` stories in order, of which story k has the seed of the generation plus k. The first that is not
 * finished is printed as it comes; those after it wait for their turn.
 */
export async function printStories(
  model: Model,
  generation: Generation,
  count: number,
  json?: StoryJson,
): Promise<void> {
  const seeds = Array.from({ length: count }, (_, k) => nextSeed(generation.seed, k));
  const [first, ...prompt] = generation.promptTokens;
  const stories = seeds.map((seed) => {
    const stream = new TextStream(model.tokenizer, first);
    return {
      seed,
      tokens: [...generation.promptTokens],
      stream,
      text: prompt.map((token) => stream.push(token)).join(""),
      printed: 0,
      finishReason: undefined as "stop" | "length" | undefined,
      timings: undefined as Timings | undefined,
      ended: false,
    };
  });
  const silent = !process.stdout.isTTY; // the stories themselves are not seen
  let done = 0;
  const out = new TextOutput();
  let current = 0;
  try {
    for await (const { sequence: k, tokens, ended, timings } of generation.stories(seeds)) {
      const story = stories[k];
      story.tokens.push(...tokens);
      story.text += tokens.map((token) => story.stream.push(token)).join("");
      if (ended) {
        story.ended = true;
        if (ended !== "failed") story.finishReason = ended;
        if (timings) story.timings = { loadMs: model.loadMs, ...timings };
        story.text += story.stream.end();
        done++;
        if (silent) showProgress(`${done} of ${count} stories `);
      }
      for (; current < count; current++) {
        const { text, printed, ended } = stories[current];
        if (!json) await out.print(text.slice(printed));
        stories[current].printed = text.length;
        if (!ended) break;
        if (json) await print(json(stories[current]));
        else await out.end(current + 1 < count ? `\n${SEPARATOR}` : "\n");
      }
    }
  } finally {
    if (silent) endProgress();
    if (current < count && !json) await out.end("\n"); // it was interrupted within a story
  }
}
