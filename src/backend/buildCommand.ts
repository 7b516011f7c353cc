/*
 * The command that builds a native addon, in the form that works where the message is printed: in a clone, and wherever
 * this package was installed. Package managers and their versions differ in how they allow a package's scripts, but the
 * script itself runs everywhere.
 */
import { existsSync, realpathSync } from "node:fs";
import { basename, isAbsolute, join, relative } from "node:path";
import { packagePath } from "../files/packageFolder.ts";

/** @param backend which of the two: the script is called build-BACKEND.mjs, and in a clone also build:BACKEND */
export function buildCommand(backend: "native" | "cuda"): string {
  const from = currentFolder();
  if (from !== undefined && relative(from, packagePath()) === "" && existsSync(packagePath("src"))) {
    return `npm run build:${backend}`;
  }
  const script = packagePath("scripts", `build-${backend}.mjs`);
  const path = from === undefined ? script : shortest(from, script);
  const node = process.versions.pnp ? "yarn node" : "node"; // Yarn's own way of finding packages needs its node
  return `${node} ${quoted(path.startsWith("..") || isAbsolute(path) ? script : path)}`;
}

/** A path of `script` relative to `from`. pnpm's node_modules has links, whose paths are shorter. */
function shortest(from: string, script: string): string {
  const linked = join("node_modules", "llama2.ts", "scripts", basename(script));
  try {
    if (realpathSync(join(from, linked)) === realpathSync(script)) return linked;
  } catch {
    // it is not there
  }
  return relative(from, script);
}

/** Undefined if the folder has been deleted. */
function currentFolder(): string | undefined {
  try {
    return process.cwd();
  } catch {
    return undefined;
  }
}

/** For a shell. */
function quoted(path: string): string {
  if (/^[\w./\\:@+-]+$/.test(path)) return path;
  return process.platform === "win32" ? `"${path}"` : `'${path.replaceAll("'", "'\\''")}'`;
}
