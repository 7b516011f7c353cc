/*
 * llama2 [MODEL]: a story.
 */
import { promptText } from "../files/text.ts";
import type { Generation } from "../generation.ts";
import type { Model } from "../model.ts";
import { BOS, RunCStream } from "../text.ts";
import { GuessColours, painted, showsColours } from "./guessColours.ts";
import { endProgress, Interrupted, print, readStdin, STDIN, showProgress, TextOutput, tell } from "./io.ts";
import { openModel } from "./model.ts";
import type { MachineFlags } from "./options.ts";
import { printStories } from "./stories.ts";
import { type StoryJson, storyJson } from "./storyJson.ts";
import { tokenTable } from "./tokenTable.ts";

export interface StoryFlags extends MachineFlags {
  temperature: number;
  topP: number;
  seed: bigint;
  steps?: number; // default: the context, or run.c's with --compat
  best: number;
  prompt?: string;
  tokenizer?: string;
  mode: "generate" | "chat";
  system?: string;
  stories: number;
  json?: boolean;
  compat?: boolean;
  ignoreEos?: boolean;
  escape?: boolean;
  quiet?: boolean;
  logprobs?: number;
  receipt?: "tokens" | "logits";
  showGuesses?: boolean;
}

/** How many tokens --show-guesses guesses ahead. */
const SHOWN_GUESSES = 3;

export async function story(path: string | undefined, flags: StoryFlags, signal: AbortSignal): Promise<void> {
  const prompt = flags.prompt === "-" ? promptText(await readStdin(signal), STDIN) : (flags.prompt ?? "");
  // to be shown, they must be made from the first token on, also where they do not pay
  const lookahead = flags.showGuesses && flags.lookahead === "auto" ? SHOWN_GUESSES : flags.lookahead;
  const model = await openModel(path, { ...flags, lookahead }, flags.tokenizer, signal);
  try {
    if (endsInSpace(prompt)) tell(SPACE_NOTE);
    const steps = stepsOf(model, flags.steps ?? (flags.compat ? RUN_C_STEPS : 0));
    const { tokens, maxTokens } = cutPrompt(model, prompt, steps);
    const { temperature, topP, seed, best, compat, logprobs } = flags;
    const ends = flags.ignoreEos ? { eos: false } : compat ? { eos: false, stop: BOS } : {};
    const onProgress = (ended: number, of: number) => showProgress(`${ended} of ${of} stories `);
    const options = { temperature, topP, seed, maxTokens, ...ends, best, logprobs, onProgress, signal };
    const generation = model.generate(tokens, { ...options, echo: true });
    tellSeed(flags.seed, generation.seed);
    const json = flags.json ? storyJson(model, generation, flags) : undefined;
    if (flags.stories > 1) await printStories(model, generation, flags, json);
    else if (json) await printJson(model, generation, json, flags);
    else if (logprobs !== undefined) await printTable(model, generation);
    else await printText(model, generation, flags);
    const { candidates } = generation;
    if (candidates) tell(`the best of ${candidates.length}: seed ${generation.seed}`);
    tellSpeed(generation);
    if (flags.showGuesses) tellGuesses(generation);
  } finally {
    await model.dispose();
  }
}

/** run.c's default of -n. */
const RUN_C_STEPS = 256;

const SPACE_NOTE =
  "the prompt ends in a space. A word's token brings the space before it, so the story goes better without yours";

function endsInSpace(prompt: string | Uint8Array): boolean {
  return (typeof prompt === "string" ? prompt.charCodeAt(prompt.length - 1) : prompt.at(-1)) === 0x20;
}

/** run.c's -n: positions, prompt included; 0 and anything beyond the context mean the context. */
function stepsOf(model: Model, steps: number): number {
  const { seqLen } = model.config;
  return steps === 0 ? seqLen : Math.min(steps, seqLen);
}

/** The prompt's tokens, cut at `steps` positions, and how many new tokens still fit. */
function cutPrompt(model: Model, prompt: string | Uint8Array, steps: number) {
  const all = model.encodePrompt(prompt);
  if (all.length > steps) tell(`the prompt has ${all.length} tokens and is cut at ${steps} positions (-n)`);
  const tokens = all.slice(0, steps + 1); // each position's token is followed by one more
  return { tokens, maxTokens: Math.max(0, steps - tokens.length + 1) };
}

/** Stream the story, prompt included, and end it with a newline, as run.c does. With --best it comes all at once. */
async function printText(
  model: Model,
  generation: Generation,
  { compat = false, best, showGuesses }: StoryFlags,
): Promise<void> {
  const [first, ...prompt] = generation.promptTokens;
  const runC = new RunCStream(model.tokenizer.vocabulary, first);
  const colours =
    showGuesses && !compat && best === 1 && showsColours() ? new GuessColours(model, generation) : undefined;
  const out = new TextOutput(colours && painted);
  const bytesOf = (tokens: readonly number[]) => Buffer.concat(tokens.map((token) => runC.push(token)));
  let begun = best === 1;
  try {
    if (compat && begun) await out.print(bytesOf(prompt));
    for await (const part of generation.slices()) {
      if (!begun) endProgress();
      const isPrompt = !begun; // the prompt comes with the story that was chosen
      begun = true;
      if (compat) await out.print(bytesOf(isPrompt ? [...prompt, ...part.tokens] : part.tokens));
      else await out.print(colours?.push(part) ?? part.text);
    }
  } finally {
    if (begun) await out.end(`${colours?.end() ?? ""}\n`);
    else endProgress();
  }
}

/** Print the story as an object, also if Ctrl-C ends it. */
async function printJson(model: Model, generation: Generation, json: StoryJson, flags: StoryFlags): Promise<void> {
  let text = "";
  const printObject = async () => {
    endProgress();
    // no receipt after Ctrl-C: making one takes a while
    const wanted = flags.receipt && generation.finishReason !== "cancelled";
    const receipt = wanted ? await model.receipt(generation, { logits: flags.receipt === "logits" }) : undefined;
    await print(json({ ...generation, text, receipt }));
  };
  try {
    for await (const part of generation.slices()) text += part.text;
  } catch (error) {
    if (error instanceof Interrupted) await printObject();
    throw error;
  }
  await printObject();
}

/** Print how each token was chosen, instead of the text. */
async function printTable(model: Model, generation: Generation): Promise<void> {
  for await (const _ of generation.slices()); // the generation keeps them
  endProgress();
  await print(tokenTable(model.tokenizer, generation.logprobs ?? []));
}

/** Print a seed that the clock chose, so that the story can be repeated. */
export function tellSeed(asked: bigint, used: bigint): void {
  if (asked === 0n) tell(`seed: ${used}`);
}

/** run.c's report. */
function tellSpeed({ timings }: Generation): void {
  if (timings && timings.tokensPerSecond > 0) tell(`achieved tok/s: ${timings.tokensPerSecond.toFixed(6)}`);
}

function tellGuesses({ lookahead }: Generation): void {
  if (lookahead) {
    const { passes, guessed, accepted, tokensPerPass } = lookahead;
    const right = `${accepted} of ${guessed} guesses were right`;
    tell(`tokens a pass: ${tokensPerPass.toFixed(2)} (${passes + accepted} in ${passes} passes; ${right})`);
  } else tell("nothing was guessed ahead");
}
