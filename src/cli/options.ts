/*
 * Flags that several commands share, and how their values are parsed. Invalid values are refused here, before anything is
 * loaded.
 */
import { type Command, InvalidArgumentError, Option } from "commander";
import { Llama2Error, type Remedy } from "../errors.ts";
import {
  BACKENDS,
  type BackendName,
  type CudaOptions,
  KV_PRECISIONS,
  type Lookahead,
  MAX_LOOKAHEAD,
  PRECISIONS,
} from "../loadOptions.ts";

/** All commands except the default one, which tells stories. */
export const COMMANDS = [
  "chat",
  "complete",
  "serve",
  "tokenize",
  "detokenize",
  "logits",
  "trace",
  "study",
  "perplexity",
  "verify",
  "bench",
  "doctor",
  "fit",
  "inspect",
  "pull",
  "models",
  "convert",
  "import",
  "quantize",
  "learn-guesses",
  "help",
] as const;

/** The flags of every command that runs a model. */
export interface MachineFlags extends CudaOptions {
  backend: BackendName | "auto";
  threads?: number;
  context?: number;
  lookahead: Lookahead;
  guesses?: string;
}

export function addMachineFlags(command: Command): Command {
  return command
    .option("--backend <name>", "what computes: cuda, cpu, wasm, ts; auto: the best that works", backendName, "auto")
    .option("--threads <n>", "how many threads; default: the backend's choice", whole("threads", 1, 1024))
    .option("--context <n>", "cap the context, to save memory", whole("positions", 1, 2 ** 31 - 1))
    .addOption(new Option("--precision <p>", "of the weights; fp16: cuda; default: the file's").choices(PRECISIONS))
    .addOption(
      new Option("--int8", "round the weights to int8 while loading: a quarter of the memory").implies({
        precision: "int8",
      }),
    )
    .addOption(
      new Option("--kv-precision <p>", "cuda: of keys and values; default: by the model's size").choices(KV_PRECISIONS),
    )
    .option("--device <n>", "cuda: which GPU; default: the first", whole("a GPU", 0, 1023))
    .option(
      "--lookahead <n>",
      "tokens guessed ahead; the output stays the same; off; auto: as many as pay",
      lookahead,
      "auto",
    )
    .option("--guesses <file>", "a table of guesses (learn-guesses); default: the one beside the model")
    .hook("preAction", () => {
      const { int8, precision } = command.opts();
      if (int8 && precision !== "int8") command.error(`error: --int8 does not go with --precision ${precision}`);
    });
}

/** The flag for an option of the library, with a value if one is known. */
export function asFlag({ option, value }: Remedy): string {
  const [flag, placeholder] = FLAGS[option];
  return `${flag} ${value ?? placeholder}`;
}

const FLAGS = {
  context: ["--context", "N"],
  threads: ["--threads", "N"],
  tokenizer: ["-z", "FILE"],
  backend: ["--backend", "NAME"],
  precision: ["--precision", "P"],
} as const;

function backendName(text: string): string {
  if (text === "auto" || (BACKENDS as readonly string[]).includes(text)) return text;
  throw new InvalidArgumentError(`Expected auto, ${BACKENDS.join(", ")}.`);
}

function lookahead(text: string): Lookahead {
  if (text === "auto" || text === "off") return text;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= MAX_LOOKAHEAD) return value;
  throw new InvalidArgumentError(`Expected auto, off, or a whole number of tokens from 1 to ${MAX_LOOKAHEAD}.`);
}

/** Reads two backends with a comma between them. */
export function twoBackends(text: string): string[] {
  const names = text.split(",");
  if (names.length === 2 && names.every((name) => (BACKENDS as readonly string[]).includes(name))) return names;
  throw new InvalidArgumentError(`Expected two of ${BACKENDS.join(", ")}, as ts,cpu.`);
}

/** Reads a whole number from `min` to `max`. */
export function whole(what: string, min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Expected a whole number of ${what} from ${min} to ${max}.`);
  };
}

/** Reads a size in bytes: 12GB (10^9), 24GiB (2^30), MB, MiB, or a plain number. */
export function size(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?) ?([KMGT]i?B|B)?$/i.exec(text) ?? [];
  const power = "kmgt".indexOf((unit ?? "").charAt(0).toLowerCase()) + 1;
  const bytes =
    Number(number) * (/i/i.test(unit ?? "") ? 1024 : 1000) ** (unit === undefined || /^B$/i.test(unit) ? 0 : power);
  if (bytes >= 1 && bytes < 2 ** 53) return Math.floor(bytes);
  throw new InvalidArgumentError("Expected a size such as 12GB or 24GiB.");
}

/** Reads values separated by commas, each as `read` does. */
export function list<T>(read: (text: string) => T): (text: string) => T[] {
  return (text) => text.split(",").map((part) => read(part.trim()));
}

/** Reads one of some words. */
export function oneOf<T extends string>(words: readonly T[]): (text: string) => T {
  return (text) => {
    const word = words.find((word) => word === text);
    if (word !== undefined) return word;
    throw new InvalidArgumentError(`Expected some of ${words.join(", ")}.`);
  };
}

/** Reads a decimal number from `min` to `max`. */
export function decimal(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) && value >= min && value <= max) return value;
    const range = max === Number.MAX_VALUE ? `from ${min} on` : `from ${min} to ${max}`;
    throw new InvalidArgumentError(`Expected a number ${range}.`);
  };
}

/** Reads a seed: a whole number of 64 bits, signed or not. */
export function seed(text: string): bigint {
  if (/^[+-]?\d+$/.test(text)) {
    const value = BigInt(text.replace(/^\+/, ""));
    if (value >= -(2n ** 63n) && value < 2n ** 64n) return value;
  }
  throw new InvalidArgumentError("Expected a whole number from -2^63 to 2^64-1.");
}

/**
 * Reads token ids, separated by commas or white space.
 * @throws Llama2Error E_USAGE
 */
export function tokenIds(text: string): number[] {
  const words = text.split(/[\s,]+/).filter((word) => word !== "");
  return words.map((word) => {
    const id = Number(word);
    if (/^\d+$/.test(word) && id < 2 ** 31) return id;
    throw new Llama2Error("E_USAGE", `"${word.slice(0, 40)}" is not a token id: expected whole numbers`);
  });
}

/** Reads a flag that may be repeated: all its values. */
export const collect = (value: string, before: string[] = []) => [...before, value];
