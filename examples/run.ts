/*
 * run.c's main (llama2.c at 350e04f), using only src/llama2/: the same flags and the same output, byte for byte. Node 22.18
 * or later runs it directly:
 *
 *     node examples/run.ts models/stories2M.bin -i "Once upon a time"
 *     node --inspect-brk examples/run.ts models/stories2M.bin
 *
 * It computes in its own thread, so a breakpoint in src/llama2/transformer.ts stops it there.
 */
import { existsSync, readFileSync, readSync, writeSync } from "node:fs";
import { chat } from "../src/llama2/chat.ts";
import { generate } from "../src/llama2/generate.ts";
import { buildTransformer } from "../src/llama2/readCheckpoint.ts";
import { buildSampler } from "../src/llama2/sampler.ts";
import { buildTokenizer } from "../src/llama2/tokenizer.ts";

/** run.c 891: error_usage. */
function errorUsage(): never {
  console.error(`Usage:   run <checkpoint> [options]
Example: run model.bin -n 256 -i "Once upon a time"
Options:
  -t <float>  temperature in [0,inf], default 1.0
  -p <float>  p value in top-p (nucleus) sampling in [0,1] default 0.9
  -s <int>    random seed, default time(NULL)
  -n <int>    number of steps to run for, default 256. 0 = max_seq_len
  -i <string> input prompt
  -z <string> optional path to custom tokenizer
  -m <string> mode: generate|chat, default: generate
  -y <string> (optional) system prompt in chat mode`);
  process.exit(1);
}

/** Text to a byte string, as in C, and back. */
const bytesOf = (text: string) => Buffer.from(text).toString("latin1");
const print = (text: string) => {
  for (let bytes = Buffer.from(text, "latin1"); bytes.length > 0; ) bytes = bytes.subarray(writeSync(1, bytes));
};

/** run.c 785: read_stdin. Up to 511 bytes of a line; at the end of input, `previous` stays. */
function readStdin(guide: string, previous: string): string {
  print(guide);
  const byte = new Uint8Array(1);
  let line = "";
  while (line.length < 511 && !line.endsWith("\n") && readSync(0, byte) === 1) line += String.fromCharCode(byte[0]);
  return line === "" ? previous : line.replace(/\n$/, "").split("\0")[0];
}

// default parameters
const [checkpointPath, ...args] = process.argv.slice(2);
const bundled = `${import.meta.dirname}/../models/tok2048.bin`; // used if there is no tokenizer.bin; run.c would fail
const z = existsSync("tokenizer.bin") ? "tokenizer.bin" : bundled;
const flags = { t: "1", p: "0.9", s: "0", n: "256", i: "", z, m: "generate", y: "" };
const given = new Set<string>();

// poor man's argparse
if (checkpointPath === undefined) errorUsage();
for (let i = 0; i < args.length; i += 2) {
  const name = args[i].slice(1) as keyof typeof flags;
  if (i + 1 >= args.length || !/^-[tpsnizmy]$/.test(args[i])) errorUsage();
  flags[name] = args[i + 1];
  given.add(name);
}

// parameter validation/overrides. C's atof and atoi parse a number at the start, and return 0 if there is none
const atoi = (text: string) => BigInt.asIntN(32, BigInt(/^\s*([+-]?\d+)/.exec(text)?.[1].replace("+", "") ?? 0));
const rngSeed = atoi(flags.s) || BigInt(Math.floor(Date.now() / 1000));
const temperature = Math.max(0, Number.parseFloat(flags.t) || 0);
let topp = Number.parseFloat(flags.p) || 0;
if (topp < 0 || topp > 1) topp = 0.9;
let steps = Math.max(0, Number(atoi(flags.n)));

// build the Transformer, the Tokenizer and the Sampler
const transformer = buildTransformer(readFileSync(checkpointPath));
const { vocabSize, seqLen } = transformer.config;
if (steps === 0 || steps > seqLen) steps = seqLen; // override to ~max length
const tokenizer = buildTokenizer(readFileSync(flags.z), vocabSize);
const sampler = buildSampler(vocabSize, temperature, topp, rngSeed);

// run!
if (flags.m === "generate") {
  let start = 0; // the clock starts after the first token, since the first iteration can be slower
  let pos = 0;
  generate(transformer, tokenizer, sampler, bytesOf(flags.i), steps, (piece) => {
    print(piece);
    pos++;
    start ||= performance.now();
  });
  print("\n");
  if (pos > 1) console.error(`achieved tok/s: ${(((pos - 1) / (performance.now() - start)) * 1000).toFixed(6)}`);
} else if (flags.m === "chat") {
  const text = (name: "i" | "y") => (given.has(name) ? bytesOf(flags[name]) : undefined);
  chat(transformer, tokenizer, sampler, text("i"), text("y"), steps, print, readStdin);
  print("\n");
} else {
  console.error(`unknown mode: ${flags.m}`);
  errorUsage();
}
