/*
 * dist/bench/charts.js with the plotting library in it: the package has no run-time dependency for a report.
 */
import { join } from "node:path";
import { build } from "rolldown";
import { isMain, root } from "./fingerprint.mjs";

export async function buildCharts() {
  await build({
    tsconfig: false, // its paths are of types
    input: join(root, "src", "bench", "charts.ts"),
    platform: "node",
    output: { file: join(root, "dist", "bench", "charts.js"), format: "esm", codeSplitting: false, minify: true },
  });
}

if (isMain(import.meta.url)) await buildCharts();
