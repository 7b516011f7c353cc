/*
 * Builds dist/node/, the package for Node, in a few files: loading sixty modules one by one delays the first story by 24 ms.
 * The library, the command, the model's thread and child processes share them. Each file has a source map with its sources.
 * The single modules of dist/ are not in the package; the tests use them.
 */
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { build } from "rolldown";
import { isMain, root } from "./fingerprint.mjs";

const src = join(root, "src");
const dir = join(root, "dist", "node");

/** The files that are imported or started by name. The folder is flat, so that each finds the others beside it. */
const ENTRIES = {
  index: "index.ts",
  main: "cli/main.ts",
  worker: "run/worker.ts",
  thread: "backend/wasm/thread.ts",
  doctorChild: "doctorChild.ts",
  child: "bench/child.ts",
  sweepWorker: "bench/sweepWorker.ts",
  probe: "backend/probe.ts",
};
const COMMAND = "cli/program.ts";
/** What the thread of most models needs. */
const THREAD = [ENTRIES.worker, "backend/cpu/cpu.ts"];
/** The code that starts the model's thread is loaded first. */
const FIRST = ["run/startWorker.ts", "errors.ts"];

/** These files of src/ and everything that they import statically. */
function closure(files, context) {
  const found = new Set(files.map((file) => join(src, file)));
  for (const id of found) for (const next of context.getModuleInfo(id)?.importedIds ?? []) found.add(next);
  return found;
}

/** Which file a module goes into, so that a story, the thread and the library load few files; null: rolldown's choice. */
function groups() {
  let needed;
  return (id, context) => {
    if (id.includes("node_modules")) return "plot";
    if (FIRST.includes(relative(src, id).replaceAll("\\", "/"))) return "first";
    needed ??= [[COMMAND], [ENTRIES.index], THREAD].map((files) => closure(files, context));
    const [command, library, thread] = needed.map((files) => files.has(id));
    if (command) return thread ? "shared" : library ? "model" : "command";
    return thread && id !== join(src, ENTRIES.worker) ? "engine" : null;
  };
}

/** No source map for the plotting library: it would be larger than all others together. */
const noMapOfOthers = {
  name: "no-map-of-others",
  generateBundle(_, bundle) {
    const plot = bundle["chunk-plot.js"];
    plot.code = plot.code.replace(/\n\/\/# sourceMappingURL=.*\n?$/, "\n");
    delete bundle["chunk-plot.js.map"];
  },
};

export async function buildNode() {
  const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  await build({
    tsconfig: false, // its paths are of types
    input: Object.fromEntries(Object.entries(ENTRIES).map(([name, file]) => [name, join(src, file)])),
    platform: "node",
    preserveEntrySignatures: "allow-extension",
    logLevel: "silent", // that a file is loaded with the others, where it could be by itself, is no warning here
    external: Object.keys(dependencies),
    plugins: [noMapOfOthers],
    output: {
      dir,
      format: "esm",
      entryFileNames: "[name].js",
      chunkFileNames: "chunk-[name].js",
      codeSplitting: { includeDependenciesRecursively: false, groups: [{ name: groups() }] },
      // names and line ends stay, for who reads a stack trace: Node prints the line of an error that nobody catches
      minify: { compress: true, mangle: false, codegen: { removeWhitespace: false } },
      sourcemap: true,
    },
  });
  cpSync(join(src, "server", "page"), join(dir, "page"), { recursive: true });
  const worker = join(root, "dist", "run", "worker.js"); // the modules start the same one
  writeFileSync(worker, 'import "../node/worker.js";\n');
  rmSync(`${worker}.map`, { force: true });
}

if (isMain(import.meta.url)) await buildNode();
