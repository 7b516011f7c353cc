/*
 * The files that the package runs from, dist/node/ and dist/browser/: each holds many modules of src/.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { ROOT } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

const MAIN = join(ROOT, "dist", "node", "main.js");

const node = (args: string[], env: NodeJS.ProcessEnv = {}) =>
  spawnSync(process.execPath, args, { cwd: ROOT, env: { ...process.env, NODE_OPTIONS: "", ...env }, encoding: "utf8" });

describe("a story in Node", () => {
  /** The files that each thread loads: the command's, the model's. */
  function loadedFiles(args: string[]): string[][] {
    const folder = tempDir();
    const { status, stderr } = node([MAIN, ...args], { NODE_V8_COVERAGE: folder });
    expect({ status }, stderr).toEqual({ status: 0 });
    const threads = readdirSync(folder).map((name) => {
      const { result }: { result: { url: string }[] } = JSON.parse(readFileSync(join(folder, name), "utf8"));
      return result.filter(({ url }) => url.startsWith("file:")).map(({ url }) => fileURLToPath(url));
    });
    return threads.sort((a) => (a.includes(MAIN) ? -1 : 1));
  }
  const isOurs = (path: string) => !path.includes("node_modules");

  it("loads few files in either thread: sixty found one by one cost 24 ms", () => {
    const [command, thread] = loadedFiles(["-s", "42", "-n", "8", "--backend", "wasm", "--threads", "1"]);
    const ours = command.filter(isOurs).map((path) => basename(path));
    expect(ours).toEqual(expect.arrayContaining(["main.js", "chunk-command.js", "chunk-model.js", "chunk-shared.js"]));
    expect(ours.length, ours.join()).toBeLessThanOrEqual(7);
    const others = command.filter((path) => !isOurs(path));
    expect(others.length).toBeLessThanOrEqual(8); // commander's
    expect(thread.map((path) => basename(path))).toContain("worker.js");
    expect(thread.length, thread.join()).toBeLessThanOrEqual(6);
  });
});

describe("an error of the library that nobody catches", () => {
  it("is a few lines: Node prints the line that threw it", () => {
    const index = pathToFileURL(join(ROOT, "dist", "node", "index.js"));
    const { status, stderr } = node(["-e", `import("${index}").then((l) => l.loadModel(undefined, { sede: 1 }))`]);
    expect({ status }).toEqual({ status: 1 });
    expect(stderr).toContain('no option "sede"');
    expect(stderr.length, stderr).toBeLessThan(3000);
  });
});

describe("a source map", () => {
  const bundles = ["node", "browser"].flatMap((folder) => {
    const dir = join(ROOT, "dist", folder);
    return readdirSync(dir).flatMap((name) => (name.endsWith(".js") ? [join(dir, name)] : []));
  });
  const others = ["chunk-plot.js", "chunk-rolldown-runtime.js"];
  const isReexport = (code: string) =>
    /^(import(\{[^}]+\}from)?"[^"]+";|export\{[^}]+\}(from"[^"]+")?;)+$/.test(code.replace(/\s+/g, ""));

  it("belongs to every bundle that has code of ours, with the sources in it", () => {
    const mapped = new Set<string>();
    for (const path of bundles) {
      const code = readFileSync(path, "utf8");
      if (others.includes(basename(path)) || isReexport(code)) continue;
      expect(code.trimEnd().split("\n").at(-1), path).toBe(`//# sourceMappingURL=${basename(path)}.map`);
      const { sources, sourcesContent } = JSON.parse(readFileSync(`${path}.map`, "utf8"));
      for (const [i, source] of sources.entries()) {
        if (!source.startsWith("../../src/")) continue; // Jinja, in pages
        expect(sourcesContent[i], source).toBe(readFileSync(join(ROOT, "dist", "node", source), "utf8"));
        mapped.add(source.slice("../../".length));
      }
    }
    expect([...mapped]).toEqual(
      expect.arrayContaining([
        "src/cli/story.ts",
        "src/run/scheduler.ts",
        "src/bench/charts.ts",
        "src/browser/index.ts",
      ]),
    );
  });

  it("leads from the bundled command to the lines of src/", () => {
    const failOnOutput = "data:text/javascript,process.stdout.write=()=>{console.error(Error().stack);process.exit(3)}";
    const { status, stderr } = node(["--enable-source-maps", "--import", failOnOutput, MAIN, "tokenize", "Once"]);
    expect({ status }).toEqual({ status: 3 });
    const frames = [...stderr.matchAll(/^ +at (?:async )?(\S+) \((.*):(\d+):(\d+)\)$/gm)].slice(1);
    const shown = frames
      .filter(([, , path]) => isOurFile(path))
      .map(([, name, path, line]) => {
        const text = readFileSync(path, "utf8").split("\n")[Number(line) - 1];
        return [name, path.slice(ROOT.length).replaceAll("\\", "/"), text.trim()];
      });
    expect(shown.slice(0, 2)).toEqual([
      ["print", "src/cli/io.ts", expect.stringContaining("process.stdout.write(")],
      ["tokenize", "src/cli/tokenize.ts", expect.stringContaining("print(")],
    ]);
    expect(shown.at(-1)).toEqual(["<anonymous>", "src/cli/main.ts", expect.stringContaining("await main()")]);
  });
});
const isOurFile = (path: string) => path.startsWith(ROOT) && !path.includes("node_modules");

it("the bundled library exports what its source does", async () => {
  const load = (...path: string[]) => import(pathToFileURL(join(ROOT, "dist", ...path)).href);
  expect(Object.keys(await load("node", "index.js"))).toEqual(Object.keys(await load("index.js")));
});
