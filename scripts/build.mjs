/*
 * Builds everything that can be built here: dist/ from src/, including the WebAssembly kernels, and the native addon if
 * there is a compiler.
 */
import { spawnSync } from "node:child_process";
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildTrace } from "./build-trace.mjs";
import { isMain, product, root } from "./fingerprint.mjs";
import { buildNative } from "./native.mjs";

const dist = product("dist", [
  "src",
  "study",
  "test/golden/bundled-model.json",
  "scripts/build.mjs",
  "scripts/build-browser.mjs",
  "scripts/build-node.mjs",
  "scripts/build-study.mjs",
  "scripts/build-trace.mjs",
  "scripts/build-wasm.mjs",
  "tsconfig.json",
  "types",
]);

/** Whether `npm run build` would change nothing. */
export const isBuilt = () => dist.isFresh();

async function build() {
  buildTrace();
  rmSync(join(root, "dist"), { recursive: true, force: true });
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const { status } = spawnSync(process.execPath, [tsc], { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
  rewriteDeclarations();
  cpSync(join(root, "src", "server", "page"), join(root, "dist", "server", "page"), { recursive: true });
  const { buildWasm } = await import("./build-wasm.mjs"); // needs what `npm ci` installs
  await buildWasm();
  const { buildBrowser } = await import("./build-browser.mjs");
  await buildBrowser();
  const { buildNode } = await import("./build-node.mjs");
  await buildNode();
  const { buildStudy } = await import("./build-study.mjs");
  await buildStudy();
  dist.markFresh();
  const why = await buildNative();
  if (why) console.error(`llama2.ts: no native cpu backend (${why}); wasm remains, the same bit for bit`);
}

/** tsc rewrites `.ts` to `.js` in the imports of what it emits, but not in declarations. */
function rewriteDeclarations() {
  const files = readdirSync(join(root, "dist"), { recursive: true }).filter((name) => name.endsWith(".d.ts"));
  for (const name of files) {
    const path = join(root, "dist", name);
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.replace(/((?:from|import\() ?"\.[^"]*)\.ts"/g, '$1.js"'));
  }
}

if (isMain(import.meta.url)) await build();
