/*
 * The arrows of src/README.md, from the imports as they are.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, it } from "vitest";
import { ROOT } from "./helpers/golden.ts";

interface Import {
  from: string; // a file of src/
  to: string; // another file, or a module from elsewhere, such as "node:fs"
  typeOnly: boolean;
}

/** AssemblyScript has imports of its own kind. */
const isOurs = (name: string) => /\.ts$/.test(name) && !/\.d\.ts$|\/assembly\//.test(name);
const files = (readdirSync(join(ROOT, "src"), { recursive: true }) as string[])
  .map((name) => name.replaceAll("\\", "/"))
  .filter(isOurs);

const imports: Import[] = files.flatMap((from) => {
  const code = readFileSync(join(ROOT, "src", from), "utf8").replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
  const statements = code.matchAll(
    /^(?:import|export)\s+(type\s)?(?:[^;"]*?from\s+)?"([^"]+)"|\bimport\("([^"]+)"\)/gm,
  );
  return [...statements].map(([, type, named, lazy]) => {
    const target = named ?? lazy;
    const to = target.startsWith(".") ? normalize(join(dirname(from), target)).replaceAll("\\", "/") : target;
    return { from, to, typeOnly: type !== undefined };
  });
});

/** A folder of src/, or a file that lies in none. */
const roomOf = (file: string) => file.split("/")[0];
const isFile = (room: string) => room.endsWith(".ts");

const BASE = ["errors.ts", "check.ts"];
const BENCH_FILES = ["encode.ts", "guesses.ts", "guessOwner.ts", "modelHash.ts", "receipt.ts", "text.ts"];
/** What each folder may import, beside itself. A file that lies in no folder is above all of these. */
const MAY: Record<string, readonly string[]> = {
  llama2: [],
  files: BASE,
  backend: [...BASE, "files", "llama2"],
  checkpoint: [...BASE, "files", "llama2", "encode.ts"],
  run: [...BASE, "files", "llama2", "backend", "checkpoint", "modelInfo.ts"],
  prove: [...BASE, "files", "llama2", "checkpoint"],
  net: [...BASE, "files"],
  pull: [...BASE, "files", "net"],
  trace: [...BASE, "files", "llama2", "backend", "checkpoint", "encode.ts", "text.ts"],
  host: ["files", "backend"],
  bench: [...BASE, "files", "llama2", "backend", "checkpoint", "run", "host", ...BENCH_FILES],
};
/** Above the files that lie in no folder. */
const TOPS = ["cli", "browser", "server"];
/** Folders that stand beside model.ts, and are built on it: the command line's doors as well. */
const STOREYS = ["bench", "pull", "server", "trace"];
/** The thread for the first story starts before anything else is loaded. */
const EARLY = "cli/main.ts > run/startWorker.ts";

const wrong = (isWrong: (one: Import) => boolean) => imports.filter(isWrong).map(({ from, to }) => `${from} > ${to}`);

it("every import in src/ is found", () => {
  expect(files.length).toBeGreaterThan(130);
  for (const { from, to } of imports.filter(({ to }) => to.endsWith(".ts"))) {
    expect(files, `${from} > ${to}`).toContain(to);
  }
  expect(imports).toContainEqual({ from: "cli/main.ts", to: "cli/program.ts", typeOnly: false });
  expect(imports).toContainEqual({ from: "loadModel.ts", to: "run/client.ts", typeOnly: false });
});

it("every folder has its floor", () => {
  const folders = new Set(files.map(roomOf).filter((room) => !isFile(room)));
  expect([...folders].sort()).toEqual([...Object.keys(MAY), ...TOPS].sort());
});

it("the reference imports nothing, not even Node", () => {
  expect(wrong(({ from, to }) => roomOf(from) === "llama2" && roomOf(to) !== "llama2")).toEqual([]);
});

it("nothing imports the command line, or a page's code", () => {
  for (const top of TOPS.filter((room) => !STOREYS.includes(room))) {
    expect(wrong(({ from, to }) => roomOf(to) === top && roomOf(from) !== top)).toEqual([]);
  }
});

it.each(Object.entries(MAY))("%s/ imports what lies below it", (room, allowed) => {
  const isBelow = (to: string) => !to.endsWith(".ts") || [room, ...allowed].includes(roomOf(to));
  expect(wrong(({ from, to }) => roomOf(from) === room && !isBelow(to))).toEqual([]);
});

it("the command line imports the files beside model.ts, and nothing below them", () => {
  const isDoor = (to: string) => isFile(roomOf(to)) || ["cli", "files", ...STOREYS].includes(roomOf(to));
  const past = wrong(({ from, to }) => roomOf(from) === "cli" && to.endsWith(".ts") && !isDoor(to));
  expect(past).toEqual([EARLY]);
});

it("there are no import cycles", () => {
  const next = (file: string) => imports.filter(({ from, to }) => from === file && to.endsWith(".ts"));
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, path: string[]) => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" > "));
    if (path.includes(file) || done.has(file)) return;
    for (const { to } of next(file)) visit(to, [...path, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
  expect(circles).toEqual([]);
});

it("code that runs in a page imports neither Node nor any package but Jinja", () => {
  const reached = new Set(["browser/index.ts", "browser/worker.ts", "trace/run.ts"]);
  const foreign: string[] = [];
  for (const file of reached) {
    for (const { from, to, typeOnly } of imports.filter((one) => one.from === file)) {
      if (typeOnly) continue;
      if (to === "@huggingface/jinja") continue; // which needs nothing but JavaScript
      if (to.endsWith(".ts")) reached.add(to);
      else foreign.push(`${from} > ${to}`);
    }
  }
  expect(reached).toContain("backend/wasm/load.ts");
  expect(foreign).toEqual([]);
});
