/*
 * The model, and the two runs that the page shows: the story, and another run with changes.
 */
import { open } from "../src/checkpoint/open.ts";
import { fitted, parseAnyTokenizer, tokenizerInside, tokenizerOfFiles } from "../src/checkpoint/tokenizer/read.ts";
import { Llama2Error } from "../src/errors.ts";
import { type Files, filesOf } from "../src/files/bytes.ts";
import { randomF32, type Sampler } from "../src/llama2/sampler.ts";
import { BOS, EOS } from "../src/llama2/tokenizer.ts";
import { modelHash } from "../src/sha256.ts";
import { TracedModel } from "../src/trace/model.ts";
import type { Hooks, TracedRun } from "../src/trace/run.ts";
import { type Place, placesOf } from "../src/trace/stops.ts";
import { breathe } from "./dom.ts";

/** A model in the page. */
export interface Session {
  model: TracedModel;
  /** sha256 of its file, or of its files' names and hashes: 64 digits, or "" if the browser cannot hash. */
  sha256: string;
  files: Files;
  /** All stops of a pass. */
  places: Place[];
}

/** sha256 in hex; "" in a page without a secure context, which has no crypto. */
export async function sha256(bytes: BufferSource): Promise<string> {
  if (!globalThis.crypto?.subtle) return "";
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A file that was dropped, or fetched. */
export interface NamedBytes {
  name: string;
  bytes: Uint8Array<ArrayBuffer>;
}

/** Files in memory, as a folder. */
function folderOf(name: string, files: readonly NamedBytes[]): Files {
  const open = async (wanted: string) => {
    const found = files.find((file) => file.name === wanted);
    if (!found) throw new Llama2Error("E_FILE", `${name} has no ${wanted}`);
    return filesOf(found.name, found.bytes).open(found.name);
  };
  return { name, list: async () => files.map((file) => file.name), open };
}

/**
 * Open a model from its bytes and its tokenizer's.
 * @throws Llama2Error E_FORMAT if they are invalid or do not fit each other; E_LIMIT
 */
export async function openModel(model: NamedBytes, tokenizer: NamedBytes | undefined): Promise<Session> {
  const { name } = model;
  const hash = sha256(model.bytes); // the browser hashes beside the rest
  const files = filesOf(name, model.bytes);
  const source = await open(files);
  const { vocabSize } = source.config;
  const found = tokenizer
    ? await parseAnyTokenizer(tokenizer.bytes, tokenizer.name)
    : await tokenizerInside(await files.open(name));
  if (!found) throw new MissingTokenizer(name, vocabSize);
  const { tokenizer: fitting } = fitted(tokenizer?.name ?? name, found, vocabSize);
  const traced = await TracedModel.load(name.replace(/\.\w+$/, ""), source, fitting);
  return { model: traced, files, sha256: await hash, places: placesOf(traced.config.nLayers) };
}

/**
 * Open a model that is a folder with its tokenizer in it, as Hugging Face's are.
 * @throws Llama2Error E_FORMAT, E_LIMIT
 */
export async function openFolder(name: string, all: readonly NamedBytes[]): Promise<Session> {
  const files = folderOf(name, all);
  const source = await open(files);
  const found = await tokenizerOfFiles(files, undefined, source.config.vocabSize);
  if (!found) throw new MissingTokenizer(name, source.config.vocabSize);
  const model = await TracedModel.load(name, source, found.tokenizer);
  const weights = all.filter((file) => /\.(safetensors|bin|pth?|gguf)$/.test(file.name));
  const hashes = await Promise.all(weights.map(async (file) => [file.name, await sha256(file.bytes)] as const));
  const hash = hashes.every(([, hash]) => hash) ? modelHash(hashes) : "";
  return { model, files, sha256: hash, places: placesOf(model.config.nLayers) };
}

/** A model without a tokenizer was dropped. */
export class MissingTokenizer extends Error {
  constructor(name: string, vocabSize: number) {
    super(`${name} has a vocabulary of ${vocabSize} tokens. Drop it together with its tokenizer`);
  }
}

/** A run, and how its tokens were chosen. */
export interface Story {
  run: TracedRun;
  /** How many of its tokens are the prompt's. */
  prompt: number;
  /** The random number that chose each token, if there was one. */
  coins: (number | undefined)[];
  /** Whether a token has ended it. */
  ended: boolean;
}

/** The settings of a run: its model, and the changes to it. */
export interface RunSettings {
  model: TracedModel;
  prompt: string;
  seed: number;
  temp: number;
  topp: number;
  more: number;
  hooks?: Hooks;
  /** Forces the token at a position. */
  fork?: { pos: number; token: number };
}

/**
 * Generate a story, in pieces of some milliseconds so that the page stays responsive.
 * @param isWanted called between pieces; false stops it, and the result is undefined
 * @param onPiece called after each piece with the story so far
 */
export async function generate(
  { model, prompt, seed, temp, topp, more, hooks, fork }: RunSettings,
  isWanted: () => boolean,
  onPiece: (story: Story) => void = () => {},
): Promise<Story | undefined> {
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
    onPiece(story);
    await breathe();
    if (!isWanted()) return undefined;
    since = performance.now();
  }
  return story;
}

/** Choose the next token, and record the random number. */
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
