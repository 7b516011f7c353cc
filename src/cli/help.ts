/*
 * llama2 help: all commands by purpose, on one screen.
 */
import { invocation } from "./invocation.ts";

/** A command that works as it is written, apart from the names of files, and what it does. */
type Example = readonly [string, string];

const GROUPS: Record<string, readonly Example[]> = {
  Tell: [
    ['llama2 -i "Once upon a time" -s 42', "a story; bundled without MODEL"],
    ["llama2 chat llama2_7b_chat.bin", "a conversation"],
    ["llama2 complete --prompts FILE", "many prompts, as Meta does"],
    ["llama2 serve MODEL", "OpenAI's API, and a page"],
  ],
  Understand: [
    ["llama2 study", "a page: one token's way, live"],
    ['llama2 trace -i "Once upon" --at att', "every value behind a token"],
    ['llama2 tokenize --pieces "Once upon a time"', "text to tokens; detokenize back"],
    ["llama2 logits stories15M.bin --tokens 1 > f32", "the numbers behind the next one"],
    ["llama2 verify FILE", "a story again, from its receipt"],
  ],
  Measure: [
    ["llama2 perplexity stories15M.bin text.txt", "how well it predicts a text"],
    ["llama2 bench stories15M.bin --quick", "how fast, on every backend"],
    ["llama2 fit --shape 7B --memory 12GB", "whether it fits, and how fast"],
    ["llama2 doctor", "what works on this machine"],
  ],
  Models: [
    ["llama2 pull stories15M", "fetch one; also ORG/REPO, URL"],
    ["llama2 models", "which are here"],
    ["llama2 inspect llama-2-7b", "what it is, and whether it runs"],
    ["llama2 convert llama-2-7b llama2_7b.bin", "any model as llama2.c's or HF's"],
    ["llama2 quantize stories15M.bin q8.bin", "int8: a quarter of the size"],
    ["llama2 learn-guesses MODEL OUT", "it learns to guess: faster"],
  ],
};

const EXAMPLE_WIDTH = 47;

/** All commands, a line each, within 80 columns and 24 lines. */
export function overview(): string {
  const lines: string[] = [];
  for (const [group, examples] of Object.entries(GROUPS)) {
    lines.push(group);
    for (const [example, what] of examples) lines.push(`  ${example.padEnd(EXAMPLE_WIDTH)}${what}`);
  }
  const more = ["All flags: llama2 --help. Of a command: llama2 help COMMAND.", ...calledHere()];
  return [...lines, more.join(" ")].join("\n");
}

/** The text below the flags of a story. */
export function afterFlags(): string {
  const examples = `
Examples:
  llama2 -i "Once upon a time" -t 0.8     a story from there on, less bold
  llama2 --best 8                         the best of eight stories
  llama2 -s 42                            the same story every time
  llama2 stories15M.bin -t 0 -n 100       a model of llama2.c, its likeliest words
  llama2 -i "- milk"                      begins with a dash; elsewhere -- "- milk"

The other commands: llama2 help`;
  return [examples, ...calledHere()].join("\n");
}

/** How to call llama2 if it is not on the path. */
function calledHere(): string[] {
  const here = invocation();
  return here === "llama2" ? [] : [`Where you are, llama2 is called as: ${here}`];
}
