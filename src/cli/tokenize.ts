/*
 * llama2 tokenize and llama2 detokenize: text to token ids and back.
 */
import { openFile } from "../checkpoint/openFile.ts";
import { findTokenizer, readAnyTokenizer } from "../checkpoint/tokenizer/find.ts";
import { encode } from "../encode.ts";
import { Llama2Error } from "../errors.ts";
import { withoutMark } from "../files/text.ts";
import { BOS, EOS, type Tokenizer } from "../llama2/tokenizer.ts";
import { BUNDLED_MODEL } from "../loadModel.ts";
import { TextStream, toByteString } from "../text.ts";
import { print, readStdin, STDIN } from "./io.ts";
import { tokenIds } from "./options.ts";

export interface TokenizeFlags {
  tokenizer?: string;
  bos: boolean;
  eos?: boolean;
  pieces?: boolean;
}

export async function tokenize(text: string, flags: TokenizeFlags, signal: AbortSignal): Promise<void> {
  const tokenizer = await openTokenizer(flags.tokenizer);
  const bytes = text === "-" ? withoutMark(await readStdin(signal), STDIN) : text;
  const tokens = encode(tokenizer, toByteString(bytes), flags.bos, flags.eos ?? false);
  if (flags.pieces) {
    const piece = (token: number) => JSON.stringify(Buffer.from(tokenizer.vocab[token], "latin1").toString());
    await print(tokens.map((token) => `${token}\t${piece(token)}\n`).join(""));
  } else {
    await print(`${tokens.join(" ")}\n`);
  }
}

export async function detokenize(ids: string, flags: { tokenizer?: string }, signal: AbortSignal): Promise<void> {
  const tokens = tokenIds(ids === "-" ? toByteString(withoutMark(await readStdin(signal), STDIN)) : ids);
  const tokenizer = await openTokenizer(flags.tokenizer);
  let text = new TextStream(tokenizer, -1);
  let all = "";
  for (const token of tokens) {
    if (token >= tokenizer.vocabSize) {
      throw new Llama2Error("E_USAGE", `${token} is no token: the tokenizer has ${tokenizer.vocabSize}`);
    }
    if (token === BOS || token === EOS) {
      all += text.end();
      text = new TextStream(tokenizer, token);
    } else {
      all += text.push(token);
    }
  }
  await print(`${all}${text.end()}\n`);
}

/** The tokenizer in `path`, or the bundled model's. */
async function openTokenizer(path: string | undefined): Promise<Tokenizer> {
  if (path !== undefined) return readAnyTokenizer(path);
  const checkpoint = await openFile(BUNDLED_MODEL);
  checkpoint.close();
  return (await findTokenizer(BUNDLED_MODEL, checkpoint.config.vocabSize)).tokenizer;
}
