/*
 * Checking what the caller of a public function gave.
 */
import { Llama2Error } from "./errors.ts";

/** @throws Llama2Error E_USAGE */
export function usage(message: string): never {
  throw new Llama2Error("E_USAGE", message);
}

/**
 * @param what takes the options, for messages
 * @throws Llama2Error E_USAGE if `options` is not an object, or has an unknown option
 */
export function checkOptions(what: string, options: unknown, known: readonly string[]): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    usage(`the options of ${what} are ${show(options)}, expected an object`);
  }
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const meant = nearest(name, known);
    usage(`${what} has no option "${name}"${meant ? `. Is "${meant}" meant?` : `: it has ${known.join(", ")}`}`);
  }
}

/** @throws Llama2Error E_USAGE unless `is` */
export function checkThat(what: string, value: unknown, is: boolean, expected: string): void {
  if (!is) usage(`${what} is ${show(value)}, expected ${expected}`);
}

/** @throws Llama2Error E_USAGE */
export function checkWhole(what: string, value: unknown, min: number, max: number): void {
  if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) return;
  usage(`${what} is ${show(value)}, expected a whole number from ${min} to ${max}`);
}

/** @throws Llama2Error E_USAGE */
export function checkOneOf(what: string, value: unknown, all: readonly string[]): void {
  if (all.includes(value as string)) return;
  const meant = typeof value === "string" ? nearest(value, all) : undefined;
  usage(`${what} is ${show(value)}, expected ${all.join(", ")}${meant ? `. Is "${meant}" meant?` : ""}`);
}

/** @throws Llama2Error E_USAGE unless it is an AbortSignal or undefined */
export function checkSignal(signal: unknown): void {
  if (signal === undefined) return;
  const like = signal as Partial<AbortSignal> | null;
  if (typeof like?.addEventListener === "function" && typeof like.throwIfAborted === "function") return;
  usage(`signal is ${show(signal)}, expected an AbortSignal`);
}

/** @throws Llama2Error E_USAGE unless it is a function or undefined */
export function checkFunction(what: string, value: unknown): void {
  if (value === undefined || typeof value === "function") return;
  usage(`${what} is ${show(value)}, expected a function`);
}

/** A value as a message shows it: short, on one line. */
export function show(value: unknown): string {
  if (typeof value === "string") return quoted(value);
  if (typeof value === "bigint") return `${value}n`;
  if (value === null || typeof value !== "object") return typeof value === "function" ? "a function" : String(value);
  if (Array.isArray(value)) return "an array";
  const name = Object.getPrototypeOf(value)?.constructor?.name ?? "Object"; // JSON may have a constructor of its own
  return name === "Object" ? "an object" : `${/^[AEIOU]/.test(name) ? "an" : "a"} ${name}`;
}

/** As in JSON, with control characters escaped. */
function quoted(text: string): string {
  const json = JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}...` : text);
  return json.replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The word that is most like `name`, if one is like it at all. */
export function nearest(name: string, words: readonly string[]): string | undefined {
  const plain = name.toLowerCase().replace(/[-_]/g, "");
  let best: string | undefined;
  let least = Math.floor(plain.length / 3) + 1;
  for (const word of words) {
    const distance = editDistance(plain, word.toLowerCase());
    if (distance < least) [best, least] = [word, distance];
  }
  return best;
}

/** How many letters must be added, removed, replaced or swapped with the next to turn a into b. */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)]; // rows[i][j]: the first i letters of a, j of b
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      row[j] = Math.min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (same ? 0 : 1));
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) row[j] = Math.min(row[j], rows[i - 2][j - 2] + 1);
    }
    rows.push(row);
  }
  return rows[a.length][b.length];
}
