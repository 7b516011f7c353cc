/*
 * Checks paths from callers of the library.
 */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { show, usage } from "../check.ts";

/**
 * The path as a string; it may also be a `file:` URL.
 * @param what it is the path of, for the message
 * @throws Llama2Error E_USAGE
 */
export function pathOf(what: string, path: unknown): string {
  if (typeof path === "string" && !path.includes("\0")) return DOTS.test(path) ? named(path) : path;
  if (!(path instanceof URL)) usage(`the path of ${what} is ${show(path)}, expected a string or a file: URL`);
  try {
    return fileURLToPath(path);
  } catch {
    usage(`the path of ${what} is ${show(path.href)}, expected a file: URL of this machine`);
  }
}

/** `.`, `..`, and paths that end with them: these do not contain the name. */
const DOTS = /(?:^|[/\\])\.{1,2}[/\\]*$/;

function named(path: string): string {
  try {
    return resolve(path);
  } catch {
    return path; // the working folder has been deleted
  }
}
