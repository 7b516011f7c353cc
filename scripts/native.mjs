// Builds the native addon with node-gyp, or says why not. Downloads nothing.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/**
 * @param {{ loud: boolean }} options loud: show what node-gyp says
 * @returns {string | undefined} why there is no addon, or undefined if there is one now
 */
export function buildNative({ loud }) {
  // Without headers beside node, node-gyp would download them.
  const nodedir = dirname(dirname(process.execPath));
  if (!existsSync(join(nodedir, "include/node/node_api.h"))) return `Node's headers are not in ${nodedir}/include/node`;
  let nodeGyp;
  try {
    nodeGyp = createRequire(import.meta.url).resolve("node-gyp/bin/node-gyp.js");
  } catch {
    return "node-gyp is not installed";
  }
  const { status, error, stderr } = spawnSync(
    process.execPath,
    [nodeGyp, "rebuild", `--nodedir=${nodedir}`, "--jobs=max", ...(loud ? [] : ["--silent"])],
    { cwd: root, stdio: loud ? "inherit" : ["ignore", "ignore", "pipe"], encoding: "utf8" },
  );
  if (status === 0) return undefined;
  const said = error?.message ?? stderr?.match(/(?:error|not found|Could not)[^\n]*/i)?.[0];
  return said ? `node-gyp failed: ${said}` : "node-gyp could not build it";
}
