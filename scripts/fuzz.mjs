/*
 * npm run fuzz -- FORMAT [--inputs N | --minutes M] [--seed S]: reads files that are nearly right. See test/fuzz/.
 *
 * The fuzzer is TypeScript beside the tests, and runs on every Node that this package does, so it is bundled first.
 * What it reads the files with is what was built: dist/.
 */
import "./ready.mjs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import { root } from "./fingerprint.mjs";

const folder = join(root, "build", "fuzz");
const source = join(root, "src");

/** src/a.ts is dist/a.js. The helpers of tests clean up after tests, and here are none. */
const built = {
  name: "built",
  resolveId(id, importer) {
    if (id === "vitest") return id;
    const path = importer && id.startsWith(".") ? resolve(importer, "..", id) : "";
    if (!path.startsWith(source)) return null;
    const file = join(root, "dist", path.slice(source.length)).replace(/\.ts$/, ".js");
    return { id: pathToFileURL(file).href, external: true };
  },
  load: (id) => (id === "vitest" ? "export const afterAll = () => {};" : null),
};

const bundle = await rolldown({ input: join(root, "test", "fuzz", "main.ts"), platform: "node", plugins: [built] });
await bundle.write({ dir: folder, format: "es" });
await import(pathToFileURL(join(folder, "main.js")).href);
