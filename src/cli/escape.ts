/*
 * --escape: for characters that some shells cannot pass.
 */
import { Llama2Error } from "../errors.ts";

const ESCAPE = /\\(?:n|t|\\|u\{([0-9a-fA-F]*)\})/g;

/**
 * Turns `\n`, `\t`, `\\` and `\u{...}` into a newline, a tab, a backslash and the character with that number. Other
 * backslashes stay.
 * @throws Llama2Error E_USAGE for a number that is not a character
 */
export function withoutEscapes(text: string): string {
  return text.replace(ESCAPE, (all: string, hex?: string) => {
    if (hex === undefined) return { "\\n": "\n", "\\t": "\t", "\\\\": "\\" }[all] as string;
    const codePoint = Number.parseInt(hex, 16);
    if (codePoint <= 0x10ffff) return String.fromCodePoint(codePoint);
    throw new Llama2Error("E_USAGE", `${all} is not a character: the last is \\u{10FFFF}`);
  });
}
