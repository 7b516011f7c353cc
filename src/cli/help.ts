/*
 * llama2 help: all commands by what a person wants, on one screen.
 */
import { invocation } from "./invocation.ts";

interface Entry {
  usage: string;
  what: string;
  example: string;
}

const GROUPS: Record<string, Entry[]> = {
  Tell: [
    {
      usage: "llama2 [MODEL]",
      what: "a story; the bundled model's without MODEL",
      example: 'llama2 -i "Once upon a time" -s 42',
    },
    {
      usage: "llama2 -m chat MODEL",
      what: "a conversation, for models that were made for it",
      example: "llama2 -m chat llama2_7b_chat.bin",
    },
  ],
  Understand: [
    {
      usage: "llama2 tokenize TEXT",
      what: "the text as token ids; detokenize IDS: back",
      example: 'llama2 tokenize --pieces "Once upon a time"',
    },
    {
      usage: "llama2 logits MODEL",
      what: "the numbers behind each next token",
      example: "llama2 logits stories15M.bin --tokens 1,306 > logits.f32",
    },
  ],
  Measure: [
    {
      usage: "llama2 perplexity MODEL FILE",
      what: "how well a model predicts a text",
      example: "llama2 perplexity stories15M.bin held-out.txt",
    },
  ],
  Models: [
    {
      usage: "llama2 inspect MODEL",
      what: "what a model is, and whether it runs",
      example: "llama2 inspect llama-2-7b",
    },
    {
      usage: "llama2 convert IN OUT",
      what: "any model as a llama2.c file or a HF folder",
      example: "llama2 convert llama-2-7b llama2_7b.bin",
    },
    {
      usage: "llama2 quantize IN OUT",
      what: "a model as int8: a quarter of the size",
      example: "llama2 quantize stories15M.bin stories15M-q8.bin",
    },
  ],
};

/** All commands, each with a line and an example, within 80 columns and 24 lines. */
export function overview(): string {
  const lines = ["Little stories, bit for bit as llama2.c tells them."];
  for (const [group, entries] of Object.entries(GROUPS)) {
    lines.push(group);
    for (const { usage, what, example } of entries) lines.push(`  ${usage.padEnd(30)}${what}`, `      ${example}`);
  }
  return [...lines, "All flags: llama2 --help. Of a command: llama2 help COMMAND.", ...calledHere()].join("\n");
}

/** What stands below the flags of a story. */
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

/** How llama2 is called where it is not a command of its own. */
function calledHere(): string[] {
  const here = invocation();
  return here === "llama2" ? [] : [`Where you are, llama2 is called as: ${here}`];
}
