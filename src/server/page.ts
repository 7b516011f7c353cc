/*
 * The files of the server's page, which writes a story.
 */
import { readFileSync } from "node:fs";

const FILES: Record<string, { name: string; type: string }> = {
  "/": { name: "index.html", type: "text/html; charset=utf-8" },
  "/page.css": { name: "page.css", type: "text/css; charset=utf-8" },
  "/page.js": { name: "page.js", type: "text/javascript; charset=utf-8" },
};

/** The file at this path, if it is one of the page's. */
export function pageFile(path: string): { type: string; bytes: Uint8Array } | undefined {
  if (!Object.hasOwn(FILES, path)) return undefined;
  const { name, type } = FILES[path];
  return { type, bytes: readFileSync(new URL(`./page/${name}`, import.meta.url)) };
}
