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
    const { machine } = await import("../machine.ts");
    const { node, platform, isa, backends } = await machine();
    lines.push(`node: ${node}`, `platform: ${platform}`, `isa: ${isa}`, `backends: ${backends.join(", ")}`);
  }
  await print(`${lines.join("\n")}\n`);
}
