/*
 * npm run fuzz -- FORMAT [--inputs N | --minutes M] [--seed S]: reads files that are nearly right. See test/fuzz/.
 *
 * The fuzzer is TypeScript in test/, and must run on every Node that this package supports, so it is bundled first. It reads
 * files with the built code: dist/.
 */
import "./ready.mjs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import { root } from "./fingerprint.mjs";

const folder = join(root, "build", "fuzz");
const source = join(root, "src");

/** Replaces src/a.ts by dist/a.js, and vitest by a stub: the tests' helpers use its afterAll. */
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
