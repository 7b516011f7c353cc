/*
 * tell.mjs OPTIONS: generates one story again and again for some time, in one process, and prints the speed: a tiny model's
 * story ends before the JIT compilers have optimized the code. OPTIONS: see tellRepeatedly in commands.mjs.
 */

import { decode, safePrintf } from "../dist/llama2/tokenizer.js";
import { loadModel } from "../dist/node/index.js";

const { path, tokenizer, prompt, steps, backend, threads, ms } = JSON.parse(process.argv[2]);
const model = await loadModel(path, { tokenizer, backend, threads, lookahead: "off" });
const end = performance.now() + ms;
let stories = 0;
let inverses = 0; // the sum of 1 / (tok/s); every story has the same number of tokens
let tokens = [];
do {
  const maxTokens = steps - model.encodePrompt(prompt).length + 1;
  const generation = model.generate(prompt, { temperature: 0, seed: 1, maxTokens });
  for await (const _ of generation);
  tokens = generation.tokens;
  stories++;
  inverses += 1 / generation.timings.tokensPerSecond;
} while (performance.now() < end);
// as run.c prints it
const pieces = tokens.slice(1).map((token, i) => safePrintf(decode(model.tokenizer.vocabulary, tokens[i], token)));
const text = Buffer.from(pieces.join(""), "latin1").toString();
await model.dispose();
console.log(JSON.stringify({ tokensPerSecond: stories / inverses, text }));
