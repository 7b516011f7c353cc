/*
 * Reads untrusted JSON: the configuration of a model, the header of a safetensors file, a tokenizer.
 */
import { Llama2Error } from "../errors.ts";

/** An object of a JSON file, with distinct keys. Use `Object.hasOwn` if a key is not a constant. */
export type JsonObject = { readonly [key: string]: unknown };

/**
 * Parse a JSON file that holds an object. JSON.parse keeps the last of two equal keys, so two programs may read different
 * models from one file. So a duplicate key is an error here, and so is `__proto__`.
 * @param name of the file, for messages
 * @throws Llama2Error E_FORMAT
 */
export function parseJsonObject(bytes: Uint8Array, name: string): JsonObject {
  const text = decodeUtf8(bytes)?.replace(/^\uFEFF/, "");
  if (text === undefined) throw new Llama2Error("E_FORMAT", `${name} is not UTF-8`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Llama2Error("E_FORMAT", `${name} is not JSON: ${printable((error as Error).message)}`);
  }
  if (!isJsonObject(value)) throw new Llama2Error("E_FORMAT", `${name} holds no JSON object`);
  checkKeys(text, name);
  return value;
}

/** An object, not an array or null. */
export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes as text, or undefined where they are not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return UTF8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Text of a file for a message: on one line, not too long, and without control characters. */
export function printable(text: string): string {
  const visible = text.replace(/[\p{C}\p{Z}]/gu, " ");
  return visible.length > 120 ? `${visible.slice(0, 117)}...` : visible;
}

/** The same for a name that a file gives, in quotation marks. */
export const quoted = (text: string): string => `"${printable(text)}"`;

/** Real files have four levels of nesting. */
const MAX_DEPTH = 100;

/** @throws Llama2Error E_FORMAT if a key in the JSON `text` occurs twice in one object, or is `__proto__` */
function checkKeys(text: string, name: string): void {
  const objects: (Set<string> | undefined)[] = []; // the keys of the enclosing objects; undefined: an array
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === "{") objects.push(new Set());
    else if (c === "[") objects.push(undefined);
    else if (c === "}" || c === "]") objects.pop();
    if (objects.length > MAX_DEPTH) throw new Llama2Error("E_FORMAT", `${name} is nested more than ${MAX_DEPTH} deep`);
    if (c !== '"') continue;
    const start = i;
    i = endOfString(text, i);
    const keys = objects.at(-1);
    if (!keys || !colonFollows(text, i)) continue;
    const raw = text.slice(start + 1, i);
    const key: string = raw.includes("\\") ? JSON.parse(`"${raw}"`) : raw;
    if (key === "__proto__") throw new Llama2Error("E_FORMAT", `${name} has the key "__proto__"`);
    if (keys.has(key)) throw new Llama2Error("E_FORMAT", `${name} has the key ${quoted(key)} twice`);
    keys.add(key);
  }
}

/** The index of the quotation mark that ends the string which begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let i = text.indexOf('"', start + 1); ; i = text.indexOf('"', i + 1)) {
    let backslashes = 0;
    while (text[i - 1 - backslashes] === "\\") backslashes++;
    if (backslashes % 2 === 0) return i;
  }
}

/** Whether the string that ends at `end` is a key. */
function colonFollows(text: string, end: number): boolean {
  let i = end + 1;
  while (" \t\r\n".includes(text[i])) i++;
  return text[i] === ":";
}
