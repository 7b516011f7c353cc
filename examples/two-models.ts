/*
 * Two models at once: the same prompt and seed, and how likely each finds the other's story. By default one model in
 * float32 and in int8; name two files to compare others.
 *
 *     node examples/two-models.ts [model] [model]
 */
import { loadModel } from "../src/index.ts"; // in your project: from "llama2.ts"

const [first, second] = process.argv.slice(2);
const models = await Promise.all([
  loadModel(first),
  second ? loadModel(second) : loadModel(first, { precision: "int8" }),
]);

const options = { seed: 7, echo: true, maxTokens: 120 };
const stories = await Promise.all(models.map((model) => model.generate("One day", options).text()));

for (const [i, model] of models.entries()) {
  console.log(`${model.info.name}, ${model.info.precision}: ${stories[i]}`);
  for (const [j, story] of stories.entries()) {
    const scored = await model.score(story);
    const nats = scored.reduce((sum, { logprob }) => sum - logprob, 0) / scored.length;
    console.log(`  it finds story ${j + 1} at ${nats.toFixed(3)} nats a token`);
  }
}
await Promise.all(models.map((model) => model.dispose()));
