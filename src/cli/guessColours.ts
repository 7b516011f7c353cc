/*
 * --show-guesses: which tokens of a story were guessed, in colour.
 */
import type { Generation, Part } from "../generation.ts";
import type { Model } from "../model.ts";
import { TextStream } from "../text.ts";

/** Stand for the colour's beginning and end while lines are broken: they have no width. */
const ON = "\x0e";
const OFF = "\x0f";

/** Replaces the marks by escape codes. */
export const painted = (text: string): string => text.replaceAll(ON, "\x1b[36m").replaceAll(OFF, "\x1b[39m");

/** Whether the output is a terminal that shows colours. */
export const showsColours = (): boolean =>
  process.stdout.isTTY && process.env.TERM !== "dumb" && (process.env.NO_COLOR ?? "") === "";

/** Turns the tokens of a story into text, marked where they were guessed. */
export class GuessColours {
  private readonly stream: TextStream;
  private begun = false;
  private isOn = false;

  constructor(model: Model, { promptTokens }: Generation) {
    this.stream = new TextStream(model.tokenizer.vocabulary, promptTokens[0]);
    for (const token of promptTokens.slice(1)) this.stream.push(token);
  }

  /** The first part is the prompt. */
  push({ text, tokens, guessed = [] }: Part): string {
    const isPrompt = !this.begun;
    this.begun = true;
    if (isPrompt) return plain(text);
    return tokens.map((token, i) => this.switched(guessed.includes(i)) + plain(this.stream.push(token))).join("");
  }

  /** What was held back, and the end of the colour. */
  end(): string {
    return plain(this.stream.end()) + this.switched(false);
  }

  private switched(on: boolean): string {
    if (on === this.isOn) return "";
    this.isOn = on;
    return on ? ON : OFF;
  }
}

const plain = (text: string): string => text.replaceAll(ON, "\ufffd").replaceAll(OFF, "\ufffd");
