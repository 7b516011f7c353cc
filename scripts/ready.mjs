/*
 * Makes a checkout ready to run: installs the packages of package-lock.json if they are missing or outdated, and builds
 * what is older than its sources. If so it prints a line on stderr, since it takes some seconds.
 */
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { isBuilt } from "./build.mjs";
import { root } from "./fingerprint.mjs";

/** Run npm quietly. If it fails, show its output and exit with its status. */
function npm(...args) {
  const { npm_execpath: running } = process.env; // set when npm runs this script, and, to npx, when npx does
  const cli = running?.endsWith("npm-cli.js") ? running : undefined;
  const options = { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] };
  const run = cli
    ? spawnSync(process.execPath, [cli, ...args], options)
    : spawnSync("npm", args, { ...options, shell: process.platform === "win32" });
  if (run.status === 0) return;
  process.stderr.write(`${run.stdout ?? ""}${run.stderr ?? ""}${run.error ?? ""}\n`);
  process.stderr.write(`llama2.ts: npm ${args.join(" ")} failed\n`);
  process.exit(run.status || 1);
}

function isInstalled() {
  const lock = join(root, "package-lock.json");
  const mark = join(root, "node_modules", ".package-lock.json"); // npm writes it at the end
  return existsSync(mark) && statSync(mark).mtimeMs >= statSync(lock).mtimeMs;
}

if (!isInstalled()) {
  process.stderr.write("llama2.ts: installing its packages, once ...\n");
  npm("ci");
}
if (!isBuilt()) {
  process.stderr.write("llama2.ts: building ...\n");
  npm("run", "build");
}
