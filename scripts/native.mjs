/*
 * Builds the native addon with node-gyp, or says why not. Downloads nothing. node-gyp first removes the previous build, so
 * it works in a separate folder: a working addon stays until there is a new one.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { product, root } from "./fingerprint.mjs";

const addon = product("build", [
  "native/cpu",
  "native/addon",
  "native/config.h",
  "native/error.h",
  "native/rope.h",
  "binding.gyp",
]);

/**
 * Build it, unless it is up to date.
 * @param {{ anew?: boolean }} options anew: build it in any case
 * @returns {Promise<string | undefined>} why there is no addon, in one line; undefined if there is one
 */
export async function buildNative({ anew = false } = {}) {
  if (!anew && addon.isFresh()) return undefined;
  // Without headers beside node, node-gyp would download them.
  const nodedir = dirname(dirname(process.execPath));
  if (!existsSync(join(nodedir, "include/node/node_api.h"))) return `Node's headers are not in ${nodedir}/include/node`;
  const nodeGyp = findNodeGyp();
  if (!nodeGyp) return "node-gyp is missing, which npm usually brings along";
  const built = join(root, "build", "Release", "llama2_cpu.node");
  let aside;
  try {
    mkdirSync(dirname(built), { recursive: true });
    aside = mkdtempSync(join(root, "build", "next-"));
    for (const name of ["native", "binding.gyp"]) cpSync(join(root, name), join(aside, name), { recursive: true });
    const { status, error, stdout, stderr } = spawnSync(
      process.execPath,
      [nodeGyp, "rebuild", `--nodedir=${nodedir}`, "--jobs=max"],
      { cwd: aside, stdio: ["ignore", "pipe", "pipe"], encoding: "utf8", maxBuffer: 2 ** 28 },
    );
    if (status !== 0) return whyNot(`${stdout ?? ""}${stderr ?? ""}${error?.message ?? ""}`);
    renameSync(join(aside, "build", "Release", "llama2_cpu.node"), built);
    await remember(built);
    addon.markFresh();
  } catch (error) {
    return `cannot write to ${join(root, "build")}: ${REASONS[error.code] ?? error.message}`;
  } finally {
    if (aside) rmSync(aside, { recursive: true, force: true });
  }
  return undefined;
}

const REASONS = {
  EACCES: "no permission",
  EPERM: "no permission",
  EROFS: "the file system is read-only",
  ENOSPC: "the disk is full",
};

/** Try the addon now, so that the first run does not have to. */
export async function remember(path) {
  const probe = join(root, "dist", "node", "probe.js");
  if (existsSync(probe)) (await import("../dist/node/probe.js")).probe(path);
}

/** One line about a failed build. The full output is written to a file. */
function whyNot(said) {
  const missing = process.platform === "win32" ? [] : missingTools();
  const why = said.includes("No space left on device")
    ? "the disk is full"
    : missing.length > 0
      ? `not found: ${missing.join(", ")}`
      : (said.match(/^.*(?:error: |EACCES|EROFS|Could not find)[^\n]*/m)?.[0].trim() ?? "node-gyp failed");
  try {
    const log = join(mkdtempSync(join(tmpdir(), "llama2.ts-")), "node-gyp.log");
    writeFileSync(log, said);
    return `${why}; all that node-gyp said is in ${log}`;
  } catch {
    return why;
  }
}

/** The tools that node-gyp needs and that do not run here. */
function missingTools() {
  const runs = (...commands) =>
    commands.some((command) => command && spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0);
  const tools = {
    "a C++ compiler": runs(process.env.CXX ?? "g++", "c++"),
    make: runs(process.env.MAKE ?? "make", "gmake"),
    "Python 3": runs(
      process.env.NODE_GYP_FORCE_PYTHON,
      process.env.npm_config_python,
      process.env.PYTHON,
      "python3",
      "python",
    ),
  };
  return Object.keys(tools).filter((tool) => !tools[tool]);
}

/** A checkout has its own; elsewhere npm has one, and passes its path when it runs this. */
function findNodeGyp() {
  try {
    return createRequire(import.meta.url).resolve("node-gyp/bin/node-gyp.js");
  } catch {
    const prefix = dirname(dirname(process.execPath));
    const inNpm = join("node_modules", "npm", "node_modules", "node-gyp", "bin", "node-gyp.js");
    const places = [
      process.env.npm_config_node_gyp,
      join(prefix, "lib", inNpm),
      join(dirname(process.execPath), inNpm), // Windows
      "/usr/share/nodejs/node-gyp/bin/node-gyp.js", // Debian
    ];
    return places.find((path) => path && existsSync(path));
  }
}
