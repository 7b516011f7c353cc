/*
 * Bytes and text: what a tokenizer sees and what people read. Runs in browsers.
 */
import type { PreparingTokenizer } from "./encode.ts";
import { byteString, decode, safePrintf, type Tokenizer } from "./llama2/tokenizer.ts";

export { BOS } from "./llama2/tokenizer.ts";

/** Text as the UTF-8 byte string that `encode` takes, one character a byte. A lone surrogate becomes U+FFFD. */
export function toByteString(text: string | Uint8Array): string {
  return byteString(typeof text === "string" ? new TextEncoder().encode(text) : text);
}

/** The bytes of a byte string. */
export function bytesOf(byteString: string): Uint8Array {
  const bytes = new Uint8Array(byteString.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = byteString.charCodeAt(i);
  return bytes;
}

/** Stands for "no token before": then a leading space is kept. */
const NOTHING = -1;

/** Turns tokens, as they come, into text. A character made of several tokens is held back until it is whole. */
export class TextStream {
  private readonly tokenizer: PreparingTokenizer;
  private readonly utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  private previous: number;
  private maybeUnfinished = false;

  /** @param previous the token before the first, or -1 */
  constructor(tokenizer: PreparingTokenizer, previous: number) {
    this.tokenizer = tokenizer;
    this.previous = previous;
  }

  /** The text that `token` completes; bytes that are not UTF-8 become U+FFFD. */
  push(token: number): string {
    const piece = decode(this.tokenizer, this.tokenizer.ownFirstSpace ? NOTHING : this.previous, token);
    this.previous = token;
    if (!this.maybeUnfinished && isAscii(piece)) return piece;
    // after an ASCII byte, no character is unfinished
    if (piece !== "") this.maybeUnfinished = piece.charCodeAt(piece.length - 1) >= 0x80;
    return this.utf8.decode(bytesOf(piece), { stream: true });
  }

  /** What was held back: U+FFFD for an unfinished character, or nothing. */
  end(): string {
    this.maybeUnfinished = false;
    return this.utf8.decode();
  }
}

/** Turns tokens, as they come, into the bytes that run.c prints: no more than `safePrintf` lets through. */
export class RunCStream {
  private readonly tokenizer: Tokenizer;
  private previous: number;

  /** @param previous the token before the first */
  constructor(tokenizer: Tokenizer, previous: number) {
    this.tokenizer = tokenizer;
    this.previous = previous;
  }

  push(token: number): Uint8Array {
    const piece = safePrintf(decode(this.tokenizer, this.previous, token));
    this.previous = token;
    return bytesOf(piece);
  }
}

function isAscii(byteString: string): boolean {
  for (let i = 0; i < byteString.length; i++) if (byteString.charCodeAt(i) >= 0x80) return false;
  return true;
}
