/*
 * Bytes and text: what a tokenizer sees and what people read.
 */
import { decode, type Tokenizer } from "./llama2/tokenizer.ts";

/** Text as the UTF-8 byte string that `encode` takes. A lone surrogate becomes U+FFFD. */
export function toByteString(text: string | Uint8Array): string {
  return Buffer.from(text as string).toString("latin1");
}

/** Turns tokens, as they come, into text. A character made of several tokens is held back until it is whole. */
export class TextStream {
  private readonly tokenizer: Tokenizer;
  private readonly utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  private previous: number;

  /** @param previous the token before the first, or -1 */
  constructor(tokenizer: Tokenizer, previous: number) {
    this.tokenizer = tokenizer;
    this.previous = previous;
  }

  /** The text that `token` completes; bytes that no UTF-8 has become U+FFFD. */
  push(token: number): string {
    const piece = decode(this.tokenizer, this.previous, token);
    this.previous = token;
    return this.utf8.decode(Buffer.from(piece, "latin1"), { stream: true });
  }

  /** What was held back: U+FFFD for an unfinished character, or nothing. */
  end(): string {
    return this.utf8.decode();
  }
}
