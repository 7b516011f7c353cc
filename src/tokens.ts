/*
 * Text to tokens and back, without a model.
 */
import { join } from "node:path";
import { checkOptions, checkThat, checkWhole, show, usage } from "./check.ts";
import { PACKAGE_MODELS, readAnyTokenizer } from "./checkpoint/tokenizer/find.ts";
import { encode, type PreparingTokenizer } from "./encode.ts";
import { pathOf } from "./files/path.ts";
import { BOS, EOS } from "./llama2/tokenizer.ts";
import { bytesOf, TextStream, toByteString } from "./text.ts";

/** The tokenizer of the model that comes with the package. */
const BUNDLED_TOKENIZER = join(PACKAGE_MODELS, "tok2048.bin");

/**
 * Load a tokenizer file.
 * @param path of it, or a `file:` URL. Default: that of the model that comes with the package
 * @throws Llama2Error E_USAGE, E_FILE, E_FORMAT
 */
export async function loadTokenizer(path: string | URL = BUNDLED_TOKENIZER): Promise<TextTokenizer> {
  return new TextTokenizer(await readAnyTokenizer(pathOf("the tokenizer", path)));
}

/** Turns text into token ids and back. */
export class TextTokenizer {
  private readonly tokenizer: PreparingTokenizer;

  /** @internal Tokenizers come from `loadTokenizer`. */
  constructor(tokenizer: PreparingTokenizer) {
    this.tokenizer = tokenizer;
  }

  /** How many tokens there are: ids are below it. */
  get vocabSize(): number {
    return this.tokenizer.vocabSize;
  }

  /**
   * The tokens of a text.
   * @param text or its UTF-8 bytes; bytes that are not UTF-8 have tokens as well
   * @param options.bos BOS in front. @default true
   * @param options.eos EOS at the end. @default false
   * @throws Llama2Error E_USAGE
   */
  encode(text: string | Uint8Array, options: { bos?: boolean; eos?: boolean } = {}): number[] {
    if (typeof text !== "string" && !(text instanceof Uint8Array)) {
      usage(`the text is ${show(text)}, expected a string or its UTF-8 bytes`);
    }
    checkOptions("encode", options, ["bos", "eos"]);
    const { bos = true, eos = false } = options;
    return encode(this.tokenizer, toByteString(text), bos, eos);
  }

  /**
   * The text of tokens. BOS and EOS have none; bytes that are not UTF-8 become U+FFFD.
   * @throws Llama2Error E_USAGE for a token out of range
   */
  decode(tokens: Iterable<number>): string {
    const isIterable = typeof (tokens as Partial<Iterable<number>> | null)?.[Symbol.iterator] === "function";
    checkThat("the tokens", tokens, isIterable, "an array of token ids");
    let stream = new TextStream(this.tokenizer, -1);
    let text = "";
    for (const token of tokens) {
      this.checkToken(token);
      if (token === BOS || token === EOS) {
        text += stream.end();
        stream = new TextStream(this.tokenizer, token);
      } else {
        text += stream.push(token);
      }
    }
    return text + stream.end();
  }

  /**
   * What the vocabulary has for a token, such as " upon" or "<0x0A>".
   * @throws Llama2Error E_USAGE for a token out of range
   */
  piece(token: number): string {
    this.checkToken(token);
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytesOf(this.tokenizer.vocab[token]));
  }

  private checkToken(token: number): void {
    checkWhole("a token", token, 0, this.vocabSize - 1);
  }
}
