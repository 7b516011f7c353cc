/*
 * A chat in the terminal. Ctrl-C stops an answer; /exit or Ctrl-D ends it.
 *
 *     node examples/chat.ts llama2_7b_chat.bin
 */
import { createInterface } from "node:readline/promises";
import { loadModel } from "../src/index.ts"; // in your project: from "llama2.ts"

const model = await loadModel(process.argv[2]);
const chat = await model.chat({ system: "Be brief." });
if (chat.note) console.error(chat.note);

const lines = createInterface({ input: process.stdin, output: process.stdout });
let stop = new AbortController();
lines.on("SIGINT", () => stop.abort());
process.stdout.write("> ");
for await (const line of lines) {
  if (line === "/exit") break;
  stop = new AbortController();
  try {
    for await (const piece of chat.say(line, { signal: stop.signal })) process.stdout.write(piece);
  } catch (error) {
    if (!stop.signal.aborted) console.error((error as Error).message);
  }
  process.stdout.write("\n> ");
}
await model.dispose();
