/*
 * llama2 logits: the raw logits, to compare them.
 */
import { existsSync } from "node:fs";
import { Llama2Error } from "../errors.ts";
import { readText } from "../files/text.ts";
import { likeliest, type Model } from "../model.ts";
import { toByteString } from "../text.ts";
import { print } from "./io.ts";
import { openModel } from "./model.ts";
import { type MachineFlags, tokenIds } from "./options.ts";

export interface LogitsFlags extends MachineFlags {
  tokens: string;
  prefill?: boolean;
  top?: number;
  tokenizer?: string;
}

/** How many words are printed on a terminal. */
const WORDS = 10;

/**
 * Write the logits after each token, little-endian float32, a row of vocabSize each. On a terminal, or with --top, print
 * the likeliest next words instead.
 */
export async function logits(path: string, flags: LogitsFlags, signal: AbortSignal): Promise<void> {
  const tokens = tokenIds(isList(flags.tokens) ? flags.tokens : toByteString(readText(flags.tokens, MAX_LIST_BYTES)));
  if (tokens.length === 0) throw new Llama2Error("E_USAGE", "--tokens names no tokens");
  const words = flags.top ?? (process.stdout.isTTY ? WORDS : 0);
  const model = await openModel(path, flags, words > 0 ? flags.tokenizer : null, signal);
  try {
    if (words > 0) return await printWords(model, tokens, words, signal);
    for await (const rows of model.logits(tokens, { batch: flags.prefill, signal })) {
      await print(new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength));
    }
  } finally {
    await model.dispose();
  }
}

/** Print the likeliest next tokens after each token, with their probabilities. */
async function printWords(model: Model, tokens: number[], count: number, signal: AbortSignal): Promise<void> {
  const { vocabSize } = model.config;
  const shown = (id: number) => JSON.stringify(model.tokenizer.piece(id));
  let position = 0;
  for await (const rows of model.logits(tokens, { batch: true, signal })) {
    for (let row = 0; row < rows.length; row += vocabSize, position++) {
      const likely = likeliest(rows.subarray(row, row + vocabSize), count);
      const lines = likely.map(({ id, logprob }) => {
        return `${(100 * Math.exp(logprob)).toFixed(2).padStart(8)}%  ${`${id}`.padStart(6)}  ${shown(id)}\n`;
      });
      const id = tokens[position];
      await print(`position ${position}, after ${id} ${shown(id)}:\n${lines.join("")}`);
    }
  }
}

/** Whether --tokens is a list: it has only ids, or begins with a number and is not a file. */
function isList(tokens: string): boolean {
  return /^[\d\s,]*$/.test(tokens) || (/^\s*[+-]?[\d.]+([\s,]|$)/.test(tokens) && !existsSync(tokens));
}

/** More than a list of tokens for any context. */
const MAX_LIST_BYTES = 1 << 24;
