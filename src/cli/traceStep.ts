/*
 * llama2 trace --step: a debugger for a forward pass, controlled by keys on a terminal or by letters on standard input.
 */
import { emitKeypressEvents } from "node:readline";
import { explain, type Ref } from "../trace/explain.ts";
import type { TracedModel } from "../trace/model.ts";
import type { TracedRun } from "../trace/run.ts";
import { leadsTo } from "../trace/why.ts";
import { Interrupted, print } from "./io.ts";
import { explanationText, largestOf, stopText } from "./traceText.ts";

const KEYS = "n next, b back, s into, o out, [ ] token, { } layer, q quit";

/** The debugger's position: a stop, or values that it has stepped into. */
export class Stepper {
  private readonly run: TracedRun;
  private readonly model: TracedModel;
  private pos: number;
  private index = 0;
  /** The values that were stepped into, the innermost last. */
  private readonly into: Ref[] = [];

  constructor(model: TracedModel, run: TracedRun, pos: number) {
    this.model = model;
    this.run = run;
    this.pos = pos;
  }

  /** Handle a key. Returns what to show, undefined for an unknown key, null to end. */
  press(key: string): string | undefined | null {
    const { length } = this.run.at(this.pos).stops;
    const stops = length;
    const move = (by: number) => {
      this.into.length = 0;
      this.index = Math.max(0, Math.min(stops - 1, this.index + by));
    };
    switch (key) {
      case "n":
        move(1);
        break;
      case "b":
        move(-1);
        break;
      case "}":
        move(16);
        break;
      case "{":
        move(-16);
        break;
      case "[":
      case "]":
        this.into.length = 0;
        this.pos = Math.max(0, Math.min(this.run.tokens.length - 1, this.pos + (key === "[" ? -1 : 1)));
        break;
      case "s":
        this.stepInto();
        break;
      case "o":
        this.into.pop();
        break;
      case "q":
        return null;
      default:
        return undefined;
    }
    return this.show();
  }

  /** Step into the largest value; then into the value behind its largest term, and so on. */
  private stepInto(): void {
    const here = this.into.at(-1);
    if (!here) {
      this.into.push(largestOf(this.run, this.pos, this.index));
      return;
    }
    const [largest] = this.largestTerms(here);
    const next = largest && leadsTo(largest);
    if (next) this.into.push(next);
  }

  private largestTerms(ref: Ref) {
    const { carries, terms } = explain(this.run, ref);
    return [...(carries ?? terms)].sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  }

  show(): string {
    const ref = this.into.at(-1);
    if (!ref) return `${stopText(this.run, this.model, this.pos, this.index)}\n${KEYS}\n`;
    return `${explanationText(explain(this.run, ref), this.largestTerms(ref))}\n${KEYS}\n`;
  }
}

/** Step through a run until q, the end of the input, or Ctrl-C. */
export async function step(stepper: Stepper, signal: AbortSignal): Promise<void> {
  const { stdin } = process;
  await print(stepper.show());
  const onTerminal = stdin.isTTY;
  if (onTerminal) stdin.setRawMode(true);
  try {
    for await (const key of onTerminal ? keys(signal) : letters()) {
      const shown = stepper.press(key);
      if (shown === null) return;
      if (shown === undefined) continue;
      if (onTerminal) process.stdout.write("\x1b[H\x1b[2J");
      await print(onTerminal ? shown : `\n${shown}`);
    }
  } finally {
    if (onTerminal) stdin.setRawMode(false);
    stdin.destroy();
  }
}

/** @throws Interrupted for Ctrl-C, which in raw mode is a key like others */
async function* keys(signal: AbortSignal): AsyncGenerator<string> {
  const { stdin } = process;
  emitKeypressEvents(stdin);
  const pressed: string[] = [];
  let wake = () => {};
  stdin.on("keypress", (text: string | undefined, key: { sequence: string }) => {
    pressed.push(text ?? key.sequence);
    wake();
  });
  stdin.on("end", () => {
    pressed.push("q");
    wake();
  });
  for (;;) {
    signal.throwIfAborted();
    const key = pressed.shift();
    if (key === "\x03") throw new Interrupted();
    if (key !== undefined) yield key;
    else await new Promise<void>((resolve) => (wake = resolve));
  }
}

async function* letters(): AsyncGenerator<string> {
  for await (const chunk of process.stdin) yield* chunk.toString();
}
