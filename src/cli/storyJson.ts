/*
 * A story as the JSON object that --json prints.
 */
import type { Token } from "../generateOptions.ts";
import type { BestCandidate, Generation, Timings } from "../generation.ts";
import type { LookaheadCounts } from "../lookaheadCounts.ts";
import type { Model } from "../model.ts";
import type { Receipt } from "../receipt.ts";
import { TextStream } from "../text.ts";
import { tokenJson } from "./tokenTable.ts";
import { packageVersion } from "./version.ts";

/** The results that differ between the stories of one command. */
export interface StoryResult {
  tokens: readonly number[];
  text: string;
  seed: bigint;
  /** Absent: it was cancelled. */
  finishReason?: "stop" | "length" | "cancelled" | undefined;
  timings?: Timings | undefined;
  lookahead?: LookaheadCounts | undefined;
  candidates?: readonly BestCandidate[] | undefined;
  logprobs?: readonly Token[] | undefined;
  receipt?: Receipt | undefined;
}

/** Makes the line of JSON for a finished story. */
export type StoryJson = (story: StoryResult) => string;

/** The fields that all stories of a command have in common are computed once. */
export function storyJson(
  model: Model,
  { promptTokens }: Generation,
  { temperature, topP }: { temperature: number; topP: number },
): StoryJson {
  const version = packageVersion();
  const { info, backend, threads, isa } = model;
  const stream = new TextStream(model.tokenizer.vocabulary, promptTokens[0]);
  const pieces = promptTokens.slice(1).map((token) => stream.push(token));
  const prompt = pieces.join("") + stream.end();
  return ({ tokens, text, seed, finishReason = "cancelled", timings, lookahead, candidates, logprobs, receipt }) => {
    const story = {
      version,
      model: info,
      backend,
      threads,
      isa,
      prompt,
      promptTokens: promptTokens.length,
      tokens,
      text,
      seed: `${seed}`,
      temperature,
      topP,
      finishReason,
      timings,
      peakBytes: process.resourceUsage().maxRSS * 1024,
      lookahead,
      best: candidates?.map(({ seed, ...candidate }) => ({ seed: `${seed}`, ...candidate })),
      logprobs: logprobs?.map((token) => tokenJson(model.tokenizer, token)),
      receipt,
    };
    return `${JSON.stringify(story)}\n`;
  };
}
