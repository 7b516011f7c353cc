/*
 * Builds the native addon with node-gyp, or says why not. Downloads nothing.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { product, root } from "./fingerprint.mjs";

const addon = product("build", ["native/cpu", "native/addon", "binding.gyp"]);

/**
 * Build it, unless it is there and no older than its sources.
 * @param {{ loud?: boolean }} options loud: build it in any case, and show what node-gyp says
 * @returns {string | undefined} why there is no addon, or undefined if there is one now
 */
export function buildNative({ loud = false } = {}) {
  if (!loud && addon.isFresh()) return undefined;
  // Without headers beside node, node-gyp would download them.
  const nodedir = dirname(dirname(process.execPath));
  if (!existsSync(join(nodedir, "include/node/node_api.h"))) return `Node's headers are not in ${nodedir}/include/node`;
  const nodeGyp = findNodeGyp();
  if (!nodeGyp) return "node-gyp is not installed";
  const { status, error, stderr } = spawnSync(
    process.execPath,
    [nodeGyp, "rebuild", `--nodedir=${nodedir}`, "--jobs=max", ...(loud ? [] : ["--silent"])],
    { cwd: root, stdio: loud ? "inherit" : ["ignore", "ignore", "pipe"], encoding: "utf8" },
  );
  if (status === 0) {
    addon.markFresh();
    return undefined;
  }
  const said = error?.message ?? stderr?.match(/(?:error|not found|Could not)[^\n]*/i)?.[0];
  return said ? `node-gyp failed: ${said}` : "node-gyp could not build it";
}

/** A checkout has its own; a package that is being installed takes the one that npm has. */
function findNodeGyp() {
  try {
    return createRequire(import.meta.url).resolve("node-gyp/bin/node-gyp.js");
  } catch {
    return process.env.npm_config_node_gyp;
  }
}
