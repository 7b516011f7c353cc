/*
 * dist/run/worker.js, the model's thread in Node, in one file, with one more beside it for each backend, which is loaded when
 * it is tried: a thread that finds its modules one by one starts later.
 */
import { join } from "node:path";
import { build } from "rolldown";
import { isMain, root } from "./fingerprint.mjs";

export async function buildWorker() {
  await build({
    tsconfig: false, // its paths are of types
    input: { worker: join(root, "src", "run", "worker.ts") },
    platform: "node",
    output: {
      dir: join(root, "dist", "run"),
      format: "esm",
      entryFileNames: "[name].js",
      chunkFileNames: "worker-[name].js", // in the same folder: files/packageFolder.ts says how far from it the package's is
      sourcemap: true,
    },
  });
}

if (isMain(import.meta.url)) await buildWorker();
