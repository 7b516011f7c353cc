/*
 * Chat templates: how a conversation is written for a model that was trained to chat.
 *
 * A checkpoint's template is an untrusted program in Jinja. It runs in @huggingface/jinja, where it can see nothing of
 * this machine but the time; here its steps and its output are limited.
 */
import { Llama2Error } from "./errors.ts";

/** One turn. */
export interface Message {
  role: "system" | "user" | "assistant";
  content: string;
}

/** Limits that templates of real models stay far below. */
const MAX_SOURCE = 1 << 18;
const MAX_STEPS = 50_000; // under a second; chats of two thousand messages pass
const MAX_TEXT = 1 << 20; // characters
const MAX_LIST = 1 << 14; // a loop makes something for each item before it begins
const MAX_NUMBER = 1e6;

/** Stand for BOS and EOS in what a template writes: no message has them. */
const MARKS = { bos: "\ufdd0", eos: "\ufdd1" };
const NO_MARKS = /[\ufdd0-\ufdd3]/g;

/** A part of what a template writes: text, or one of the two tokens. */
export type Part = string | "bos" | "eos";

export class ChatTemplate {
  /** Where it was found. */
  readonly path: string;
  private readonly run: (variables: Record<string, unknown>) => string;

  private constructor(path: string, run: (variables: Record<string, unknown>) => string) {
    this.path = path;
    this.run = run;
  }

  /** @throws Llama2Error E_FORMAT if it is not a valid template */
  static async compile({ path, source }: { path: string; source: string }): Promise<ChatTemplate> {
    if (source.length > MAX_SOURCE) throw refused(path, `it has more than ${MAX_SOURCE} characters`);
    const jinja = await import("@huggingface/jinja");
    const program = trying(path, () => new jinja.Template(source).parsed);

    class Capped extends jinja.Interpreter {
      private steps = 0;

      override evaluate(statement: unknown, environment: unknown): { value?: unknown } | undefined {
        if (++this.steps > MAX_STEPS) throw new Error(`it takes more than ${MAX_STEPS} steps`);
        const result = super.evaluate(statement, environment);
        checkSize(result?.value);
        return result;
      }
    }

    return new ChatTemplate(path, (variables) => {
      const environment = new jinja.Environment();
      for (const [name, value] of Object.entries({ ...GLOBALS, ...variables })) environment.set(name, value);
      return trying(path, () => new Capped(environment).run(program).value as string);
    });
  }

  /**
   * A conversation as text, up to where the model answers, with BOS and EOS where the template wants them. Within a
   * message, what looks like BOS or EOS is plain text.
   * @throws Llama2Error E_FORMAT if the template fails, or refuses these messages
   */
  render(messages: readonly Message[]): string {
    const plain = messages.map(({ role, content }) => ({ role, content: content.replace(NO_MARKS, "\ufffd") }));
    const hidden = plain.map(({ role, content }) => ({ role, content: content.replace(/<(\/?s>)/g, "\ufdd2$1") }));
    const text = this.run({
      messages: hidden,
      add_generation_prompt: true,
      bos_token: MARKS.bos,
      eos_token: MARKS.eos,
    });
    const marked = text.replaceAll("<s>", MARKS.bos).replaceAll("</s>", MARKS.eos);
    return marked.replaceAll("\ufdd2", "<");
  }
}

/** The parts of a rendered conversation. */
export function partsOf(rendered: string): Part[] {
  return rendered
    .split(/([\ufdd0\ufdd1])/)
    .filter((part) => part !== "")
    .map((part) => (part === MARKS.bos ? "bos" : part === MARKS.eos ? "eos" : part));
}

/** What templates may call. Python's strftime is there for templates that tell the model the date. */
const GLOBALS = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  raise_exception(message: unknown): never {
    throw new Error(`it says: ${String(message)}`);
  },
  range(start: number, stop?: number, step = 1): number[] {
    const [from, to] = stop === undefined ? [0, start] : [start, stop];
    if (!(Math.abs((to - from) / step) <= MAX_LIST)) throw new Error("a range is too long");
    return Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step);
  },
  strftime_now: (format: string) => strftime(format, new Date()),
};

function strftime(format: string, now: Date): string {
  const two = (n: number) => String(n).padStart(2, "0");
  const name = (part: Intl.DateTimeFormatOptions) => now.toLocaleDateString("en-US", part);
  const parts: Record<string, () => string> = {
    "%Y": () => String(now.getFullYear()),
    "%m": () => two(now.getMonth() + 1),
    "%d": () => two(now.getDate()),
    "%B": () => name({ month: "long" }),
    "%b": () => name({ month: "short" }),
    "%A": () => name({ weekday: "long" }),
    "%H": () => two(now.getHours()),
    "%M": () => two(now.getMinutes()),
  };
  return format.replace(/%[A-Za-z]/g, (part) => parts[part]?.() ?? part);
}

function checkSize(value: unknown): void {
  if (typeof value === "number" && Math.abs(value) > MAX_NUMBER) throw new Error(`it has a number above ${MAX_NUMBER}`);
  if (typeof value === "string" && value.length > MAX_TEXT) throw new Error(`it has a text of more than ${MAX_TEXT}`);
  if (Array.isArray(value) && value.length > MAX_LIST) throw new Error(`it has a list of more than ${MAX_LIST}`);
}

function trying<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const { message } = error as Error;
    throw refused(path, /call stack/i.test(message) ? "it is nested too deep" : message.split("\n")[0].slice(0, 200));
  }
}

const refused = (path: string, why: string) =>
  new Llama2Error("E_FORMAT", `the chat template of ${path} cannot be used: ${why}`);
