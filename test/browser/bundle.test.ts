/*
 * The bundles for web pages need nothing of Node.
 */
import type { Plugin } from "rolldown";
import { expect, it } from "vitest";
import { buildBrowser } from "../../scripts/build-browser.mjs";

const imported: string[] = [];
const noNode: Plugin = {
  name: "no-node",
  resolveId(id, importer) {
    const isOurs = id.startsWith(".") || id === "@huggingface/jinja"; // which needs nothing but JavaScript
    if (!isOurs && importer !== undefined) imported.push(`${id} by ${importer}`);
  },
};

it("the browser's entries import nothing but this package's files and Jinja, and know no Buffer and no process", async () => {
  const made = await buildBrowser({ write: false, plugins: [noNode] });
  expect(imported).toEqual([]);
  const chunks = made.flatMap(({ output }) => output.filter(({ fileName }) => !fileName.endsWith(".map")));
  expect(chunks.map(({ fileName }) => fileName)).toEqual(["index.js", "worker.js"]);
  for (const chunk of chunks) {
    const code = chunk.type === "chunk" ? chunk.code.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "") : "";
    expect(code).not.toMatch(/\b(Buffer|process)\.|\brequire\(|from "node:/);
  }
});

it("bundlers find the worker and the kernels by the literal form of their URLs", async () => {
  const [{ output }] = await buildBrowser({ write: false });
  const code = output[0].code;
  expect(code).toContain('new Worker(new URL("./worker.js", import.meta.url), { type: "module" })');
  expect(code).toContain('new URL("./kernels.wasm", import.meta.url)');
});
