/*
 * Paths that a caller of the library gave.
 */
import { fileURLToPath } from "node:url";
import { show, usage } from "../check.ts";

/**
 * The path as a string; it may also be a `file:` URL.
 * @param what it is the path of, for the message
 * @throws Llama2Error E_USAGE
 */
export function pathOf(what: string, path: unknown): string {
  if (typeof path === "string" && !path.includes("\0")) return path;
  if (!(path instanceof URL)) usage(`the path of ${what} is ${show(path)}, expected a string or a file: URL`);
  try {
    return fileURLToPath(path);
  } catch {
    usage(`the path of ${what} is ${show(path.href)}, expected a file: URL of this machine`);
  }
}
