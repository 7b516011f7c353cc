/*
 * Many stories as JSON Lines, generated in shared passes.
 *
 *     node examples/jsonl.ts 1000 > stories.jsonl
 */
import { once } from "node:events";
import { loadModel } from "../src/index.ts"; // in your project: from "llama2.ts"

const count = Number(process.argv[2] ?? 1000);
const model = await loadModel();
const prompts = Array.from({ length: count }, () => "");

for await (const { index, text, generation } of model.generateAll(prompts, { seed: 1 })) {
  const { seed, finishReason, usage } = generation;
  const line = JSON.stringify({ index, seed: `${seed}`, text, finishReason, tokens: usage.completionTokens });
  if (!process.stdout.write(`${line}\n`)) await once(process.stdout, "drain"); // wait for a slow reader
}
await model.dispose();
