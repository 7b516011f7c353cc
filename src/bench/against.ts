/*
 * Measures another program in the same run: it generates the same text, and prints its speed as llama2.c does.
 */
import { spawn } from "node:child_process";
import { basename } from "node:path";
import { usage } from "../check.ts";
import { Llama2Error } from "../errors.ts";
import { BOS, decode, safePrintf, type Tokenizer } from "../llama2/tokenizer.ts";

/** The values of a command's placeholders. */
export interface Story {
  model: string;
  prompt: string;
  n: number; // positions, the prompt's included, as run.c's -n
  seed: number;
}

/** The outcome of a run. */
export interface ProgramResult {
  tokensPerSecond: number;
  text: string; // bytes, as latin1
}

/** Far more than any output has. */
const MOST_SAID = 1 << 22;

/** A command, split into words without a shell; quotes hold words together. */
export class Program {
  readonly name: string;
  private readonly words: string[];

  /** @throws Llama2Error E_USAGE */
  constructor(command: string) {
    this.words = [...command.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, a, b, c]) => a ?? b ?? c);
    if (this.words.length === 0) usage("--against needs a command");
    this.name = basename(this.words[0]);
  }

  /**
   * Run it to its end.
   * @throws Llama2Error E_FILE if it cannot be started, ends with an error, prints no speed, or is not done in time
   */
  run(story: Story, timeoutMs: number, signal?: AbortSignal): Promise<ProgramResult> {
    const [command, ...args] = this.words.map((word) =>
      word.replace(/\{(model|prompt|n|seed)\}/g, (_, key: keyof Story) => `${story[key]}`),
    );
    const failed = (why: string) => new Llama2Error("E_FILE", `${command} ${why}`);
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
      const timer = setTimeout(() => end(failed(`was not done after ${timeoutMs / 1000} s`)), timeoutMs);
      const onAbort = () => end(signal?.reason);
      const end = (error?: Error) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        child.kill("SIGKILL");
        if (error) reject(error);
      };
      signal?.addEventListener("abort", onAbort);
      const said = { stdout: "", stderr: "" };
      for (const name of ["stdout", "stderr"] as const) {
        child[name].setEncoding("latin1").on("data", (chunk) => {
          said[name] += chunk;
          if (said[name].length > MOST_SAID) end(failed(`printed more than ${MOST_SAID} bytes`));
        });
      }
      child.on("error", ({ message }) => end(failed(`cannot be started: ${message}`)));
      child.on("close", (code, by) => {
        const { stdout, stderr } = said;
        const speed = Number(/achieved tok\/s: *([\d.]+)/.exec(`${stderr}\n${stdout}`)?.[1]);
        const why =
          code !== 0
            ? `ended with ${by ?? `status ${code}`}: ${stderr.trim().split("\n").at(-1) ?? ""}`
            : !(speed > 0)
              ? "printed no speed: expected a line `achieved tok/s: N` on either stream"
              : undefined;
        end(why === undefined ? undefined : failed(why));
        resolve({ tokensPerSecond: speed, text: stdout.replace(/achieved tok\/s:.*\n?/, "").replace(/\n+$/, "") });
      });
    });
  }
}

/** The text of tokens as run.c prints it: bytes as latin1, up to a BOS, which ends it. */
export function textOf(tokenizer: Tokenizer, tokens: readonly number[]): string {
  const end = tokens.indexOf(BOS, 1);
  const before = end === -1 ? tokens : tokens.slice(0, end);
  return before
    .slice(1)
    .map((token, i) => safePrintf(decode(tokenizer, before[i], token)))
    .join("");
}

/** Where two texts first differ; undefined if one only ends earlier, as it may have been cut. */
export function differenceOf(mine: string, theirs: string): string | undefined {
  const length = Math.min(mine.length, theirs.length);
  for (let i = 0; i < length; i++) {
    if (mine[i] === theirs[i]) continue;
    const around = (text: string) => JSON.stringify(text.slice(Math.max(0, i - 10), i + 20));
    return `its text differs from character ${i} on: ${around(theirs)}, and llama2 ${around(mine)}`;
  }
  return undefined;
}
