/*
 * llama2 -N: many stories at once.
 */
import { nextSeed, type Token } from "../generateOptions.ts";
import { type Generation, type Timings, tokensOf } from "../generation.ts";
import { type LookaheadCounts, lookaheadOf } from "../lookaheadCounts.ts";
import type { Model } from "../model.ts";
import { endProgress, print, showProgress, TextOutput } from "./io.ts";
import type { StoryJson, StoryResult } from "./storyJson.ts";

/** Between two stories. */
export const SEPARATOR = "<|end|>\n";

/**
 * Print `count` stories in order; story k has the generation's seed plus k. The first unfinished story is printed as it
 * comes; those after it wait for their turn.
 */
export async function printStories(
  model: Model,
  generation: Generation,
  { stories: count, receipt }: { stories: number; receipt?: "tokens" | "logits" },
  json?: StoryJson,
): Promise<void> {
  const seeds = Array.from({ length: count }, (_, k) => nextSeed(generation.seed, k));
  const stories = seeds.map((seed) => {
    return {
      seed,
      tokens: [...generation.promptTokens],
      text: "",
      logprobs: generation.logprobs && ([] as Token[]),
      printed: 0,
      finishReason: undefined as "stop" | "length" | undefined,
      timings: undefined as Timings | undefined,
      lookahead: undefined as LookaheadCounts | undefined,
      ended: false,
    };
  });
  const withReceipt = async (story: (typeof stories)[number]): Promise<StoryResult> => {
    if (!receipt) return story;
    const run = generation.run({ ...story, endedByToken: story.finishReason === "stop" });
    return { ...story, receipt: await model.receiptOf(run, { logits: receipt === "logits" }) };
  };
  const silent = !process.stdout.isTTY; // the user does not see the stories
  let done = 0;
  const out = new TextOutput();
  let current = 0;
  try {
    for await (const part of generation.stories(seeds)) {
      const { sequence: k, tokens, text, ended, timings, ahead } = part;
      const story = stories[k];
      story.logprobs?.push(...tokensOf(part, story.tokens.length));
      story.tokens.push(...tokens);
      story.text += text;
      if (ended) {
        story.ended = true;
        if (ended !== "failed") story.finishReason = ended;
        story.lookahead = lookaheadOf(ahead);
        if (timings) story.timings = { loadMs: model.loadMs, ...timings };
        done++;
        if (silent) showProgress(`${done} of ${count} stories `);
      }
      for (; current < count; current++) {
        const { text, printed, ended } = stories[current];
        if (!json) await out.print(text.slice(printed));
        stories[current].printed = text.length;
        if (!ended) break;
        if (json) await print(json(await withReceipt(stories[current])));
        else await out.end(current + 1 < count ? `\n${SEPARATOR}` : "\n");
      }
    }
  } finally {
    if (silent) endProgress();
    if (current < count && !json) await out.end("\n"); // interrupted within a story
  }
}
