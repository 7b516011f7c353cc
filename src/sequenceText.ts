/*
 * Turns the tokens of one sequence into text, up to a stop string.
 */
import { BOS, type Tokenizer } from "./llama2/tokenizer.ts";
import { StopStrings } from "./stopStrings.ts";
import { TextStream } from "./text.ts";

/** A character has at most four bytes, and so four tokens. */
const LONGEST_CHARACTER = 4;

export class SequenceText {
  /** A stop string has been found: no more tokens are wanted. */
  stopped = false;
  /** How many tokens it has taken. */
  count = 0;
  private readonly stream: TextStream;
  private readonly stops: StopStrings;

  /**
   * @param prompt its tokens. The text begins after them, or with them if `echo`, but never within a character
   * @param onEcho receives the text of the prompt
   */
  constructor(
    tokenizer: Tokenizer,
    prompt: readonly number[],
    stops: readonly string[],
    onEcho?: (text: string) => void,
  ) {
    // BOS has no text, but removes a space from the token after it
    const known = onEcho ? [...(prompt[0] === BOS ? [] : [-1]), ...prompt] : prompt.slice(-LONGEST_CHARACTER - 1);
    const [previous, ...last] = known;
    this.stream = new TextStream(tokenizer, previous);
    const text = last.map((token) => this.stream.push(token)).join("");
    onEcho?.(text);
    this.stops = new StopStrings(stops);
  }

  /** The text that `tokens` complete, and how many of them were used: fewer than all if a stop string is found. */
  push(tokens: readonly number[]): { text: string; used: number } {
    let text = "";
    let used = 0;
    for (const token of tokens) {
      if (this.stopped) break;
      text += this.stops.push(this.stream.push(token));
      used++;
      this.count++;
      this.stopped = this.stops.found;
    }
    return { text, used };
  }

  /** What was held back, once no more tokens come. */
  end(): string {
    const text = this.stops.push(this.stream.end());
    return text + this.stops.end();
  }
}
