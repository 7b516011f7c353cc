/*
 * The model, and the two runs that the page looks at: the story, and another one that differs from it by choice.
 */
import { open } from "../src/checkpoint/open.ts";
import { fitted, parseAnyTokenizer, tokenizerInside } from "../src/checkpoint/tokenizer/read.ts";
import { filesOf } from "../src/files/bytes.ts";
import { randomF32, type Sampler } from "../src/llama2/sampler.ts";
import { BOS, EOS } from "../src/llama2/tokenizer.ts";
import { ablation } from "../src/trace/ablate.ts";
import { TracedModel } from "../src/trace/model.ts";
import type { Hooks, TracedRun } from "../src/trace/run.ts";
import { breathe } from "./dom.ts";
import type { State } from "./state.ts";

/** A model in the page. */
export interface Session {
  model: TracedModel;
  /** Of its file: all 64 digits, or "" where the browser has no way to hash. */
  sha256: string;
  bytes: Uint8Array<ArrayBuffer>;
}

/** sha256 in hex; "" in a page without a secure context, which has no crypto. */
export async function sha256(bytes: BufferSource): Promise<string> {
  if (!globalThis.crypto?.subtle) return "";
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Open a model from its bytes and those of its tokenizer.
 * @throws Llama2Error E_FORMAT for bytes that are none, or do not fit each other; E_LIMIT
 */
export async function openModel(
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
  tokenizer: { name: string; bytes: Uint8Array } | undefined,
): Promise<Session> {
  const files = filesOf(name, bytes);
  const source = await open(files);
  const { vocabSize } = source.config;
  const found = tokenizer
    ? await parseAnyTokenizer(tokenizer.bytes, tokenizer.name)
    : await tokenizerInside(await files.open(name));
  if (!found) throw new MissingTokenizer(name, vocabSize);
  const { tokenizer: fitting } = fitted(tokenizer?.name ?? name, found, vocabSize);
  const model = await TracedModel.load(name.replace(/\.\w+$/, ""), source, fitting);
  return { model, bytes, sha256: await sha256(bytes) };
}

/** A model without a tokenizer was dropped. */
export class MissingTokenizer extends Error {
  constructor(name: string, vocabSize: number) {
    super(`${name} has a vocabulary of ${vocabSize} tokens. Drop it together with its tokenizer`);
  }
}

/** A run, and how its tokens came about. */
export interface Story {
  run: TracedRun;
  /** How many of its tokens are the prompt's. */
  prompt: number;
  /** The coin that chose each token, where one was tossed. */
  coins: (number | undefined)[];
  /** A token has ended it. */
  ended: boolean;
}

/** How a run differs from the story. */
export interface Difference {
  off?: string[];
  fork?: { pos: number; token: number };
}

/**
 * Tell a story, in pieces of some milliseconds so that the page stays alive.
 * @param isWanted is asked between pieces; false stops it, and the result is undefined
 */
export async function tell(
  { model }: Session,
  { prompt, seed, temp, topp, more }: State,
  { off = [], fork }: Difference,
  isWanted: () => boolean,
): Promise<Story | undefined> {
  const hooks: Hooks = ablation(off, model.config);
  const tokens = model.encode(prompt).slice(0, model.config.seqLen);
  const run = model.run([], hooks);
  const sampler = model.sampler({ temperature: temp, topP: topp, seed: BigInt(seed) });
  const story: Story = { run, prompt: tokens.length, coins: [], ended: false };
  const end = Math.min(tokens.length + more, model.config.seqLen);
  let since = performance.now();
  for (let pos = 0; pos < end; pos++) {
    const chosen = pos < tokens.length ? tokens[pos] : choose(model, story, sampler);
    const token = fork?.pos === pos ? fork.token : chosen;
    if (pos > 0 && (token === BOS || token === EOS)) {
      story.ended = true;
      break;
    }
    run.read(token);
    if (performance.now() - since < 12) continue;
    await breathe();
    if (!isWanted()) return undefined;
    since = performance.now();
  }
  return story;
}

/** The next token, and the coin with which it is chosen. */
function choose(model: TracedModel, { run, coins }: Story, sampler: Sampler): number {
  const { temperature, rngState } = sampler;
  if (temperature > 0) coins[run.tokens.length] = randomF32({ ...sampler, rngState });
  return model.next(run, sampler);
}

/** The first position at which two runs have different tokens, or -1. */
export function firstDifference(a: TracedRun, b: TracedRun): number {
  const length = Math.max(a.tokens.length, b.tokens.length);
  for (let pos = 0; pos < length; pos++) if (a.tokens[pos] !== b.tokens[pos]) return pos;
  return -1;
}
