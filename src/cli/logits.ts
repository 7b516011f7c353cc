/*
 * llama2 logits: the raw numbers, for comparing.
 */
import { existsSync } from "node:fs";
import { Llama2Error } from "../errors.ts";
import { readText } from "../files/text.ts";
import { toByteString } from "../text.ts";
import { print } from "./io.ts";
import { openModel } from "./model.ts";
import { type MachineFlags, tokenIds } from "./options.ts";

export interface LogitsFlags extends MachineFlags {
  tokens: string;
  prefill?: boolean;
}

/** Write the logits after each token, little-endian float32, a row of vocabSize each. */
export async function logits(path: string, flags: LogitsFlags, signal: AbortSignal): Promise<void> {
  const tokens = tokenIds(isList(flags.tokens) ? flags.tokens : toByteString(readText(flags.tokens, MAX_LIST_BYTES)));
  if (tokens.length === 0) throw new Llama2Error("E_USAGE", "--tokens names no tokens");
  const model = await openModel(path, flags, null, signal);
  try {
    for await (const rows of model.logits(tokens, { batch: flags.prefill, signal })) {
      await print(new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength));
    }
  } finally {
    await model.dispose();
  }
}

/** Whether --tokens is meant as a list: it has nothing else in it, or begins with a number and is no file. */
function isList(tokens: string): boolean {
  return /^[\d\s,]*$/.test(tokens) || (/^\s*[+-]?[\d.]+([\s,]|$)/.test(tokens) && !existsSync(tokens));
}

/** Longer than the list of any context. */
const MAX_LIST_BYTES = 1 << 24;
