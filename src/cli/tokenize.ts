/*
 * llama2 tokenize and llama2 detokenize: text to token ids and back.
 */
import { withoutMark } from "../files/text.ts";
import { toByteString } from "../text.ts";
import { loadTokenizer } from "../tokens.ts";
import { print, readStdin, STDIN } from "./io.ts";
import { tokenIds } from "./options.ts";

export interface TokenizeFlags {
  tokenizer?: string;
  bos: boolean;
  eos?: boolean;
  pieces?: boolean;
}

export async function tokenize(text: string, flags: TokenizeFlags, signal: AbortSignal): Promise<void> {
  const { bos, eos, pieces } = flags;
  const tokenizer = await loadTokenizer(flags.tokenizer);
  const bytes = text === "-" ? withoutMark(await readStdin(signal), STDIN) : text;
  const tokens = tokenizer.encode(bytes, { bos, eos });
  const lines = pieces
    ? tokens.map((token) => `${token}\t${JSON.stringify(tokenizer.piece(token))}\n`).join("")
    : `${tokens.join(" ")}\n`;
  await print(lines);
}

export async function detokenize(ids: string, flags: { tokenizer?: string }, signal: AbortSignal): Promise<void> {
  const tokens = tokenIds(ids === "-" ? toByteString(withoutMark(await readStdin(signal), STDIN)) : ids);
  const tokenizer = await loadTokenizer(flags.tokenizer);
  await print(`${tokenizer.decode(tokens)}\n`);
}
