/*
 * Engines by name: functions that generate a text once, and return the speed.
 */

import { bytesRead } from "../dist/bench/bytes.js";
import { readBandwidth } from "../dist/bench/sweep.js";
import { openFile } from "../dist/checkpoint/openFile.js";
import { achieved, countTokens, llama2, llama2Json, reference, startNode, tellRepeatedly } from "./commands.mjs";
import { sum } from "./samples.mjs";

/** With this prompt, seeded models of llama2.c's shapes generate the same text under -Ofast too, in float32 and int8. */
const PROMPT = "One day";
/** 128 tokens with BOS: each word is one token. */
const LONG_PROMPT = Array(127).fill("a").join(" ");
const PREFILL = 128;
const STORIES = 32;
/** How many of them are also generated one at a time. */
const ALONE = 8;

/** A sample takes about a second, so slower engines get fewer positions. */
const STEPS = {
  decode: { "260K": 512, "15M": 256, "42M": 128, "110M": 64 },
  slow: { "15M": 96, "42M": 48, "110M": 24 },
};
const OTHER_STEPS = { decode: 64, slow: 24 };

/** run.c's clock has whole milliseconds, which is too coarse for models with fewer bytes per token. */
const SMALL_BYTES = 8e6;
const SMALL_SAMPLE_MS = 1000;

/** The task of a group's engines. @returns {import("./commands.mjs").Task} */
export function taskOf(group, model) {
  const { path, tokenizer } = model;
  const [kind, temperature] = group.split(" ");
  if (kind === "prefill") {
    const counted = countTokens(tokenizer, LONG_PROMPT);
    if (counted !== PREFILL) throw new Error(`the prompt to be prefilled has ${counted} tokens with ${tokenizer}`);
    return { path, tokenizer, prompt: LONG_PROMPT, steps: PREFILL };
  }
  if (kind === "load") return { path, tokenizer, steps: 1 };
  const steps = kind === "stories" ? 256 : (STEPS[kind][model.name] ?? OTHER_STEPS[kind]);
  return { path, tokenizer, prompt: PROMPT, steps, temperature: Number(temperature ?? 0) };
}

/**
 * @param {string} name
 * @param {{ model: object, task: object, references: Record<string, string> }} setting
 * @returns {() => { value: number, output?: string }} value: tok/s; GB/s of a sweep; ms of a load
 */
export function engine(name, setting) {
  const { model, task, references } = setting;
  const words = name.split(" ");
  const threads = Number(words.at(-1));
  const decode = model.bytes < SMALL_BYTES ? decodingSmall : decoding;
  const int8Task = { ...task, path: model.int8Path };
  switch (words[0]) {
    case "run":
    case "runfast":
    case "runomp":
      return runC(references[words[0]], threads, { ...task, temperature: 0 }, model);
    case "runq":
      return runC(references.runq, threads, int8Task, model);
    case "int8":
      return () => decode("cpu", threads, int8Task);
    case "ts":
    case "wasm":
    case "cpu":
      return () => decode(words[0], threads, task);
    case "first":
      return () => decoding(words[1], threads, task);
    case "prefill":
      return () => prefill(threads, task);
    case "at":
      return () => atOnce(task);
    case "one":
      return () => oneAtATime(task);
    case "load":
      return () => loading(words[1], task, references);
    case "sweep":
      return () => ({
        value: readBandwidth(words[1] === "int8" ? model.int8Bytes : model.bytes, threads),
      });
    default:
      throw new Error(`there is no engine ${name}`);
  }
}

function decoding(backend, threads, task) {
  const run = llama2(backend, threads, task, "--compat");
  return { value: achieved(run), output: run.stdout };
}

/** The same over a second, in one process. */
function decodingSmall(backend, threads, task) {
  const { tokensPerSecond, text } = tellRepeatedly(backend, threads, task, SMALL_SAMPLE_MS);
  return { value: tokensPerSecond, output: `${text}\n` };
}

function runC(binary, threads, task, model) {
  if (model.bytes >= SMALL_BYTES) {
    return () => {
      const run = reference(binary, threads, task);
      return { value: achieved(run), output: run.stdout };
    };
  }
  // an outer clock, minus the time of a run with a single position: everything but decoding
  const positions = countPositions(task) - 1;
  return () => {
    const runs = [];
    const starts = [];
    for (let ms = 0; ms < SMALL_SAMPLE_MS; ms += runs.at(-1).ms) {
      starts.push(reference(binary, threads, { ...task, steps: 1 }));
      runs.push(reference(binary, threads, task));
    }
    const elapsed = sum(runs.map(({ ms }) => ms)) - sum(starts.map(({ ms }) => ms));
    return { value: (1000 * runs.length * positions) / elapsed, output: runs[0].stdout };
  };
}

/** How many positions are read for a text, from its number of tokens. */
export function countPositions(task) {
  const { tokens } = llama2Json("ts", 1, task);
  return Math.min(tokens.length, task.steps); // a text that ends early has read its last token, to get the BOS after it
}

/** The prompt in passes of many tokens; run.c reads it token by token. */
function prefill(threads, task) {
  const { text, timings } = llama2Json("cpu", threads, task);
  return { value: (1000 * PREFILL) / timings.prefillMs, output: `${text}\n` };
}

function atOnce(task) {
  const run = llama2("cpu", 2, task, "--json", "-N", `${STORIES}`);
  const stories = run.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  return { value: achieved(run), output: textOf(stories) };
}

function oneAtATime(task) {
  const stories = Array.from({ length: ALONE }, (_, k) => llama2Json("cpu", 2, { ...task, seed: 1 + k }));
  const seconds = stories.map(({ tokens, timings }) => tokens.length / timings.tokensPerSecond);
  return { value: sum(stories.map(({ tokens }) => tokens.length)) / sum(seconds), output: textOf(stories) };
}

const textOf = (stories) =>
  stories
    .slice(0, ALONE)
    .map(({ text }) => text)
    .join("\n");

/**
 * The second of two loads in a row. A virtual machine returns memory to its host if it is unused for some seconds, and
 * allocating a model's memory again takes ten times as long: for 62 MB, 100 to 140 ms instead of 6.
 */
function loading(what, task, references) {
  if (what === "node") return { value: startNode().ms };
  const start = () => (what === "run" ? reference(references.run, 1, task) : llama2(what, 1, task, "--compat"));
  start();
  const { ms, stdout } = start();
  return { value: ms, output: stdout };
}

/** How many bytes a backend reads for a token of the model. */
export async function bytesPerToken(path) {
  const checkpoint = await openFile(path);
  try {
    const { weights, perPosition } = bytesRead(checkpoint);
    return { weights, ofPosition: perPosition, vocabSize: checkpoint.config.vocabSize };
  } finally {
    checkpoint.close();
  }
}
