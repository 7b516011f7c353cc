/*
 * The files of the server's page, which generates stories.
 */
import { readFileSync } from "node:fs";

const FILES: Record<string, { name: string; type: string }> = {
  "/": { name: "index.html", type: "text/html; charset=utf-8" },
  "/page.css": { name: "page.css", type: "text/css; charset=utf-8" },
  "/page.js": { name: "page.js", type: "text/javascript; charset=utf-8" },
};

/** The file of the page at this URL path, with its MIME type; undefined if there is none. */
export function pageFile(path: string): { type: string; bytes: Uint8Array } | undefined {
  if (!Object.hasOwn(FILES, path)) return undefined;
  const { name, type } = FILES[path];
  return { type, bytes: readFileSync(new URL(`./page/${name}`, import.meta.url)) };
}
