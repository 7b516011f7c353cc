/*
 * The folder of this package.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";

// Bundlers copy what `new URL("...", import.meta.url)` names into their output; here that would be whole folders.
const here = import.meta.url;
const ROOT = fileURLToPath(new URL("../../", here));

/** A path of this package: `packagePath("models")`. */
export const packagePath = (...parts: string[]): string => join(ROOT, ...parts);
