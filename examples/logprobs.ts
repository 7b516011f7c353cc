/*
 * How likely a model finds a text, token by token, and which tokens it would have preferred.
 *
 *     node examples/logprobs.ts "Once upon a time there was a dragon"
 */
import { loadModel } from "../src/index.ts"; // in your project: from "llama2.ts"

const model = await loadModel();
const { tokenizer } = model;
const scored = await model.score(process.argv[2] ?? "Once upon a time there was a dragon", { logprobs: 3 });

for (const { id, logprob, rank, top = [] } of scored) {
  const others = top.map((other) => JSON.stringify(tokenizer.piece(other.id))).join(" ");
  console.log(
    `${(100 * Math.exp(logprob)).toFixed(2)}%`.padStart(8),
    `rank ${rank}`.padEnd(9),
    tokenizer.piece(id),
    " rather:",
    others,
  );
}
const nats = scored.reduce((sum, { logprob }) => sum - logprob, 0);
console.log(
  `${(nats / scored.length).toFixed(3)} nats a token, perplexity ${Math.exp(nats / scored.length).toFixed(2)}`,
);
await model.dispose();
