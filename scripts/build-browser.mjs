/*
 * Builds dist/browser/, the library for pages: index.js, worker.js and the kernels, each self-contained. Bundlers find them
 * by their URLs; pages without a bundler name the folder.
 */
import { copyFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { build } from "rolldown";
import { isMain, root } from "./fingerprint.mjs";

const ENTRIES = ["index", "worker"];

/** @param {import("rolldown").Plugin[]} plugins @returns {Promise<import("rolldown").RolldownOutput[]>} what it made */
export async function buildBrowser({ dir = join(root, "dist", "browser"), write = true, plugins = [] } = {}) {
  const made = [];
  for (const name of ENTRIES) {
    made.push(
      await build({
        tsconfig: false, // its paths are of types
        input: { [name]: join(root, "src", "browser", `${name}.ts`) },
        platform: "browser",
        plugins,
        write,
        output: { dir, format: "esm", codeSplitting: false, sourcemap: true },
      }),
    );
  }
  if (write) {
    const wasm = join(root, "dist", "backend", "wasm");
    for (const file of readdirSync(wasm)) if (file.endsWith(".wasm")) copyFileSync(join(wasm, file), join(dir, file));
  }
  return made;
}

if (isMain(import.meta.url)) await buildBrowser();
