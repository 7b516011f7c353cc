/*
 * Text to tokens and back, as a user of the library holds it. Runs in browsers.
 */
import { checkOptions, checkWhole, show, usage } from "./check.ts";
import { encode, type PreparingTokenizer } from "./encode.ts";
import { BOS, EOS } from "./llama2/tokenizer.ts";
import { bytesOf, TextStream, toByteString } from "./text.ts";

/** Turns text into token ids and back. */
export class TextTokenizer {
  /** @internal The vocabulary itself. */
  readonly vocabulary: PreparingTokenizer;

  /** @internal Tokenizers come from `loadTokenizer`, or with a model. */
  constructor(vocabulary: PreparingTokenizer) {
    this.vocabulary = vocabulary;
  }

  /** How many tokens there are: ids are 0 to vocabSize - 1. */
  get vocabSize(): number {
    return this.vocabulary.vocabSize;
  }

  /**
   * The tokens of a text.
   * @param text a string or UTF-8 bytes; bytes that are not UTF-8 have tokens as well
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
    return encode(this.vocabulary, toByteString(text), bos, eos);
  }

  /**
   * The text of tokens. BOS and EOS have none; bytes that are not UTF-8 become U+FFFD.
   * @throws Llama2Error E_USAGE for a token out of range
   */
  decode(tokens: Iterable<number>): string {
    if (typeof (tokens as Iterable<number> | null)?.[Symbol.iterator] !== "function") {
      usage(`the tokens are ${show(tokens)}, expected token ids`);
    }
    const decoder = this.decoder();
    let text = "";
    for (const token of tokens) text += decoder.push(token);
    return text + decoder.end();
  }

  /**
   * Decodes tokens as they come, one by one. All its text together is what `decode` gives.
   * @example
   * const decoder = tokenizer.decoder();
   * for (const token of tokens) process.stdout.write(decoder.push(token));
   * process.stdout.write(decoder.end());
   */
  decoder(): TokenDecoder {
    return new TokenDecoder(this);
  }

  /**
   * The vocabulary's entry for a token, such as " upon" or "<0x0A>".
   * @throws Llama2Error E_USAGE for a token out of range
   */
  piece(token: number): string {
    this.checkToken(token);
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytesOf(this.vocabulary.vocab[token]));
  }

  /** @internal */
  checkToken(token: number): void {
    checkWhole("a token", token, 0, this.vocabSize - 1);
  }
}

/** Turns tokens into text as they come. A character made of several tokens is held back until it is whole. */
export class TokenDecoder {
  private readonly tokenizer: TextTokenizer;
  private stream: TextStream;

  /** @internal Decoders come from `tokenizer.decoder()`. */
  constructor(tokenizer: TextTokenizer) {
    this.tokenizer = tokenizer;
    this.stream = new TextStream(tokenizer.vocabulary, -1);
  }

  /**
   * The text that `token` completes. BOS and EOS have none.
   * @throws Llama2Error E_USAGE for a token out of range
   */
  push(token: number): string {
    this.tokenizer.checkToken(token);
    if (token !== BOS && token !== EOS) return this.stream.push(token);
    const rest = this.stream.end();
    this.stream = new TextStream(this.tokenizer.vocabulary, token);
    return rest;
  }

  /** What was held back: U+FFFD for an unfinished character, or nothing. */
  end(): string {
    return this.stream.end();
  }
}
