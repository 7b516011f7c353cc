/*
 * A story as the JSON object that --json prints.
 */
import type { BestCandidate, Generation, Timings } from "../generation.ts";
import type { Model } from "../model.ts";
import { TextStream } from "../text.ts";
import { packageVersion } from "./version.ts";

/** What differs between the stories of one command. */
export interface Told {
  tokens: readonly number[];
  text: string;
  seed: bigint;
  /** Absent: it was cancelled. */
  finishReason?: "stop" | "length" | undefined;
  timings?: Timings | undefined;
  candidates?: readonly BestCandidate[] | undefined;
}

/** Makes the line that a story is, once it is told. */
export type StoryJson = (told: Told) => string;

/** What all stories of a command have in common is put together once. */
export function storyJson(
  model: Model,
  { promptTokens }: Generation,
  { temperature, topP }: { temperature: number; topP: number },
): StoryJson {
  const version = packageVersion();
  const { info, backend, threads, isa } = model;
  const stream = new TextStream(model.tokenizer, promptTokens[0]);
  const pieces = promptTokens.slice(1).map((token) => stream.push(token));
  const prompt = pieces.join("") + stream.end();
  return ({ tokens, text, seed, finishReason = "cancelled", timings, candidates }) => {
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
      best: candidates?.map(({ seed, ...candidate }) => ({ seed: `${seed}`, ...candidate })),
    };
    return `${JSON.stringify(story)}\n`;
  };
}
