/*
 * dist/cli/main.js, the command in Node, with a few files beside it for what is loaded when it is asked for: sixty modules
 * found one by one cost a first story 24 ms. The modules themselves stay beside it, for whoever imports one of them.
 */
import { readFileSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { build } from "rolldown";
import { isMain, root } from "./fingerprint.mjs";

const src = join(root, "src");

/** What is beside a module is still found from where the module itself lies. */
const places = {
  name: "places",
  resolveId: (id) => (id.endsWith("/charts.ts") ? { id: "../bench/charts.js", external: "relative" } : null), // built by itself
  transform(code, id) {
    if (!id.startsWith(src) || !code.includes("import.meta.url")) return null;
    const place = relative(src, id).replaceAll("\\", "/").replace(/\.ts$/, ".js");
    return { code: code.replaceAll("import.meta.url", `new URL("../${place}", import.meta.url).href`), map: null };
  },
};

/** What a story needs: the files that these import, and what they import, but for the start of the thread, which goes first. */
const ROOTS = ["program.ts", "story.ts"].map((name) => join(src, "cli", name));
const THREAD = ["run/startWorker.ts", "errors.ts"].map((name) => join(src, name));
const isEarly = (id, context) =>
  ROOTS.includes(id) || (context.getModuleInfo(id)?.importers ?? []).some((importer) => isEarly(importer, context));

export async function buildCli() {
  const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  await build({
    tsconfig: false, // its paths are of types
    input: { main: join(src, "cli", "main.ts") },
    platform: "node",
    preserveEntrySignatures: false,
    logLevel: "silent", // that a file is loaded with the others, where it could be by itself, is no warning here
    external: [...Object.keys(dependencies)],
    plugins: [places],
    output: {
      dir: join(root, "dist", "cli"),
      format: "esm",
      entryFileNames: "[name].js",
      chunkFileNames: "main-[name].js",
      codeSplitting: {
        includeDependenciesRecursively: false,
        groups: [{ name: (id, context) => (!THREAD.includes(id) && isEarly(id, context) ? "early" : null) }],
      },
      minify: true, // with maps they would be half a megabyte of the package
    },
  });
  rmSync(join(root, "dist", "cli", "main.js.map"), { force: true }); // tsc's
}

if (isMain(import.meta.url)) await buildCli();
