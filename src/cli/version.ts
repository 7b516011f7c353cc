/*
 * llama2 --version.
 */
import { readFileSync } from "node:fs";
import { print } from "./io.ts";

/** Of this package. */
export function packageVersion(): string {
  return JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version;
}

/** The version; with `verbose`, what it runs on as well. */
export async function printVersion(verbose: boolean): Promise<void> {
  const lines = [`llama2.ts ${packageVersion()}`];
  if (verbose) {
    const { availableBackends } = await import("../backend/load.ts");
    const backends = await availableBackends();
    lines.push(`node: ${process.version}`, `platform: ${process.platform} ${process.arch}`);
    lines.push(`isa: ${backends.find(({ exact }) => exact)?.isa}`);
    lines.push(`backends: ${backends.map(({ name }) => name).join(", ")}`);
  }
  await print(`${lines.join("\n")}\n`);
}
