/*
 * Starts the programs that are measured, and reads their output. Every call is a fresh process.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root } from "../scripts/fingerprint.mjs";

const LLAMA2 = join(root, "dist", "node", "main.js");
const TELL = join(root, "bench", "tell.mjs");

/**
 * @typedef {object} Task what is generated
 * @property {string} path the checkpoint
 * @property {string} tokenizer
 * @property {string} [prompt]
 * @property {number} steps run.c's -n
 * @property {number} [temperature]
 * @property {number} [seed]
 */

/** Run a command to its end. An outer clock measures it. */
export function execute(command, args, env = {}) {
  const start = performance.now();
  const run = spawnSync(command, args, { encoding: "utf8", env: { ...process.env, ...env }, maxBuffer: 1 << 28 });
  const ms = performance.now() - start;
  if (run.status === 0) return { stdout: run.stdout, stderr: run.stderr, ms };
  throw new Error(
    `${command} ${args.join(" ")}: ${run.error?.message ?? `${run.signal ?? run.status}: ${run.stderr}`}`,
  );
}

/** The flags that run.c and llama2 share. @param {Task} task */
function flags({ path, tokenizer, prompt, steps, temperature = 0, seed = 1 }) {
  const sampling = ["-t", `${temperature}`, "-p", "0.9", "-s", `${seed}`];
  return [path, "-z", tokenizer, "-n", `${steps}`, ...sampling, ...(prompt ? ["-i", prompt] : [])];
}

/** run.c or runq.c. @param {Task} task */
export function reference(binary, threads, task) {
  return execute(binary, flags(task), { OMP_NUM_THREADS: `${threads}` });
}

/** @param {Task} task */
export function llama2(backend, threads, task, ...more) {
  // token by token, as llama2.c does it: lookahead.mjs measures guessing ahead
  const args = [LLAMA2, ...flags(task), "--lookahead", "off", "--backend", backend, "--threads", `${threads}`, ...more];
  return execute(process.execPath, args);
}

/** The same with --json. @param {Task} task */
export function llama2Json(backend, threads, task) {
  return JSON.parse(llama2(backend, threads, task, "--json").stdout);
}

/**
 * The same story in one process for at least `ms`, by the library.
 * @param {Task} task
 * @returns {{ tokensPerSecond: number, text: string }}
 */
export function tellRepeatedly(backend, threads, task, ms) {
  const options = JSON.stringify({ ...task, backend, threads, ms });
  return JSON.parse(execute(process.execPath, [TELL, options]).stdout);
}

export const quantize = (input, output) => execute(process.execPath, [LLAMA2, "quantize", input, output]);

/** How many tokens a text has, BOS included. */
export function countTokens(tokenizer, text) {
  const { stdout } = execute(process.execPath, [LLAMA2, "tokenize", "-z", tokenizer, text]);
  return stdout.trim().split(" ").length;
}

/** An empty program, for the start of Node. */
export const startNode = () => execute(process.execPath, ["-e", "0"]);

/** The speed that both report on stderr. */
export function achieved({ stderr }) {
  const tokensPerSecond = Number(stderr.match(/achieved tok\/s: ([\d.]+)/)?.[1]);
  if (tokensPerSecond > 0) return tokensPerSecond;
  throw new Error(`no speed was reported: ${stderr}`);
}
