/*
 * Standard input and output, and how a command ends.
 */
import { once } from "node:events";
import { Llama2Error } from "../errors.ts";
import { reasonOf } from "../files/reasons.ts";
import { MAX_TEXT_BYTES } from "../files/text.ts";
import { WordWrap } from "./wrap.ts";

/** What messages call standard input. */
export const STDIN = "standard input";

/**
 * All bytes of standard input.
 * @throws Llama2Error E_LIMIT beyond `maxBytes`; the signal's reason
 */
export async function readStdin(signal: AbortSignal, maxBytes = MAX_TEXT_BYTES): Promise<Uint8Array> {
  signal.addEventListener("abort", () => process.stdin.destroy(signal.reason));
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin) {
    size += chunk.length;
    if (size > maxBytes) throw new Llama2Error("E_LIMIT", `${STDIN} has more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Write to standard output, and wait for a slow reader. */
export async function print(text: string | Uint8Array): Promise<void> {
  const shown = typeof text === "string" && process.stdout.isTTY ? harmless(text) : text;
  if (shown.length > 0 && !process.stdout.write(shown)) await once(process.stdout, "drain");
}

/**
 * A text without control sequences, which could come from names of files and from tokenizers, and change the terminal's
 * title, clipboard or cursor. Colours stay, since llama2 prints some.
 */
const harmless = (text: string): string =>
  text.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, (found, at: number) => {
    const after = text.slice(at + 1, at + 20);
    const stays = "\n\t".includes(found) || (found === "\r" && after[0] === "\n") || isColour(found, after);
    return stays ? found : "\ufffd";
  });
const isColour = (found: string, after: string) => found === "\x1b" && /^\[[\d;]*m/.test(after);

let quiet = false;

/** --quiet: whether `tell` and `showProgress` print nothing from now on. */
export function beQuiet(value: boolean): void {
  quiet = value;
}

/** Print a note for the user, on stderr. */
export function tell(line: string): void {
  if (!quiet) complain(line);
}

/** Print an error on stderr. On a terminal, lines break between words, but never within a command. */
export function complain(line: string): void {
  const { isTTY, columns } = process.stderr;
  const text = harmless(line);
  process.stderr.write(`${isTTY && columns > 0 ? wrapped(text, columns) : text}\n`);
}

function wrapped(line: string, columns: number): string {
  const wrap = new WordWrap(() => columns);
  const glued = line.replace(COMMAND, (command) => command.replaceAll(" ", NO_BREAK));
  return (wrap.push(glued) + wrap.end()).replaceAll(NO_BREAK, " ");
}

/** Commands in a message: text in backticks, and the command in a line of advice. */
const COMMAND = /`[^`\n]+`|(?<=^ {2}[^:\n]*: ).+|(?<=^ {2}Did you mean ).+/gm;

/** Stands for a space where a line must not break. */
const NO_BREAK = "\ue000";

/** Whether progress can be shown: stderr is a terminal that can erase a line. */
export const canShowProgress = (): boolean => process.stderr.isTTY && process.env.TERM !== "dumb" && !quiet;

/** Show a command's progress, in place of the last one. Ends with `endProgress`. */
export function showProgress(text: string): void {
  if (canShowProgress()) process.stderr.write(`\r\x1b[K${harmless(text)}`);
}

/** Erase the progress. */
export function endProgress(): void {
  if (canShowProgress()) process.stderr.write("\r\x1b[K");
}

/** Ask a yes-no question on a terminal. Without a terminal, or with --quiet, the answer is no. */
export async function confirm(question: string, signal: AbortSignal): Promise<boolean> {
  if (!process.stdin.isTTY || !canShowProgress()) return false;
  const { createInterface } = await import("node:readline/promises");
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  terminal.on("SIGINT", () => process.emit("SIGINT")); // while readline reads, Ctrl-C does not reach the process
  try {
    const closed = once(terminal, "close").then(() => "");
    const answer = await Promise.race([terminal.question(`${question} [y/N] `, { signal }), closed]);
    return /^y(es)?$/i.test(answer.trim());
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    terminal.close();
  }
}

/**
 * Prints a text as it comes: on a terminal with line breaks between words, anywhere else unchanged. Bytes are never
 * broken into lines.
 */
export class TextOutput {
  private readonly wrap: WordWrap | undefined;
  private readonly paint: (text: string) => string;

  /** @param paint called with the text after lines are broken; returns what is printed */
  constructor(paint = (text: string) => text) {
    this.paint = paint;
    const { isTTY, columns } = process.stdout;
    if (isTTY && columns > 0) this.wrap = new WordWrap(() => process.stdout.columns || columns);
  }

  print(text: string | Uint8Array): Promise<void> {
    return print(typeof text === "string" ? this.paint(this.wrap?.push(text) ?? text) : text);
  }

  /** Print the word that is held back, and then `text`. */
  end(text = ""): Promise<void> {
    return print(this.paint(this.wrap ? this.wrap.push(text) + this.wrap.end() : text));
  }
}

/**
 * End the command if its output cannot be written. If the reader leaves, as `head` does, there is nothing more to do and
 * nothing wrong; anything else, such as a full disk, is an error.
 */
export function endWithOutput(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE") process.exit(0);
      if (stream === process.stdout) complain(`llama2: cannot write the output: ${reasonOf(error)} (E_FILE)`);
      process.exit(1);
    });
  }
}

/** In a container, as process 1, signals end a process only if it handles them. */
export function endWithSignals(): void {
  if (process.pid !== 1) return;
  for (const [signal, number] of [
    ["SIGTERM", 15],
    ["SIGHUP", 1],
  ] as const) {
    process.on(signal, () => process.exit(128 + number));
  }
}

/** Ctrl-C was pressed. */
export class Interrupted extends Error {
  static readonly exitCode = 130;
}

/** Run `work` with a signal that Ctrl-C aborts, so that it can end cleanly. A second Ctrl-C ends the process at once. */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const onInterrupt = () => {
    if (controller.signal.aborted) process.exit(Interrupted.exitCode);
    controller.abort(new Interrupted());
  };
  process.on("SIGINT", onInterrupt);
  try {
    return await work(controller.signal);
  } finally {
    process.off("SIGINT", onInterrupt);
  }
}
