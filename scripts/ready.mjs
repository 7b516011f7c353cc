/*
 * Makes a checkout ready to run: installs what package-lock.json asks for if that is missing or older, and builds
 * if a source is newer than the last build. Says so on stderr, since both take some seconds; does nothing else.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const stampFile = join(root, "dist", ".built-from");

/** Run npm quietly; show what it said only if it failed, and end with its exit code. */
function npm(...args) {
  const cli = process.env.npm_execpath; // set when npm runs this script
  const options = { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] };
  const run = cli
    ? spawnSync(process.execPath, [cli, ...args], options)
    : spawnSync("npm", args, { ...options, shell: process.platform === "win32" });
  if (run.status === 0) return;
  process.stderr.write(`${run.stdout ?? ""}${run.stderr ?? ""}${run.error ?? ""}\n`);
  process.stderr.write(`llama2.ts: npm ${args.join(" ")} failed\n`);
  process.exit(run.status || 1);
}

const newer = (a, b) => statSync(a).mtimeMs > statSync(b).mtimeMs;

function installed() {
  const lock = join(root, "package-lock.json");
  const mark = join(root, "node_modules", ".package-lock.json"); // npm writes it at the end
  return existsSync(mark) && !newer(lock, mark);
}

/** A fingerprint of everything that a build reads: paths, sizes and times. */
function sources() {
  const hash = createHash("sha256");
  const add = (path) => {
    const stat = statSync(path);
    if (stat.isDirectory()) for (const name of readdirSync(path).sort()) add(join(path, name));
    else hash.update(`${path}\0${stat.size}\0${stat.mtimeMs}\0`);
  };
  for (const name of ["src", "scripts/build.mjs", "scripts/build-wasm.mjs", "tsconfig.json", "package.json"])
    add(join(root, name));
  return hash.digest("hex");
}

const built = () => existsSync(stampFile) && readFileSync(stampFile, "utf8") === sources();

if (!installed()) {
  process.stderr.write("llama2.ts: installing its packages, once ...\n");
  npm("ci");
}
if (!built()) {
  process.stderr.write("llama2.ts: building ...\n");
  npm("run", "build");
  writeFileSync(stampFile, sources());
}
