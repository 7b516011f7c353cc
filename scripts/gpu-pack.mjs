/*
 * npm run gpu:pack: gathers in build-gpu/ what a bare box lacks for `python3 scripts/gpu-check.py`: this Node, the built
 * command line and the CUDA addon if they are there, what is needed of ../shared/, and programs to compare with.
 *
 *   npm run gpu:pack -- --with PROGRAM --with PROGRAM     those go to build-gpu/peers/
 *   npm run gpu:pack -- --no-node                         smaller; the addon is then not tried under Node
 *
 * The checkout and build-gpu/ travel together, so both count towards the limit. Fails if they are too large.
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { root } from "./fingerprint.mjs";

/** Of the checkout and the bundle: what may travel, with some room. */
export const LIMIT = 60 * 2 ** 20;

const git = (...args) => execFileSync("git", args, { cwd: root, encoding: "utf8" });

/** All files below a folder, relative to it, and their bytes. */
export function filesOf(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .map((path) => ({ path: relative(folder, path), bytes: statSync(path).size }))
    .sort((a, b) => b.bytes - a.bytes);
}

/** What travels of the checkout: files that git knows, and those that it does not ignore. */
const checkoutFiles = () =>
  git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    .split("\0")
    .filter((path) => path !== "" && existsSync(join(root, path)) && statSync(join(root, path)).isFile())
    .map((path) => ({ path, bytes: statSync(join(root, path)).size }));

const sum = (files) => files.reduce((total, { bytes }) => total + bytes, 0);

/** @returns {string | undefined} why this cannot travel */
export function tooLarge(files, limit = LIMIT) {
  const total = sum(files);
  if (total <= limit) return undefined;
  const megabytes = (bytes) => (bytes / 2 ** 20).toFixed(1);
  const largest = [...files].sort((a, b) => b.bytes - a.bytes).slice(0, 5);
  const list = largest.map(({ path, bytes }) => `  ${path} ${megabytes(bytes)}`).join("\n");
  return `${megabytes(total)} MiB, ${megabytes(limit)} at most; the largest:\n${list}`;
}

/** Put what is there into the bundle; says what is not. */
export function gather(bundle, shared, { node, peers }) {
  const missing = [];
  const bring = (from, to) => {
    if (existsSync(from)) cpSync(from, join(bundle, to), { recursive: true, dereference: true });
    else missing.push(relative(root, from));
  };
  const bringPacked = (from, to) => {
    if (!existsSync(from)) return missing.push(relative(root, from));
    mkdirSync(dirname(join(bundle, to)), { recursive: true });
    return writeFileSync(join(bundle, to), gzipSync(readFileSync(from), { level: 6 }));
  };
  bring(join(root, "package.json"), "app/package.json");
  bring(join(root, "dist"), "app/dist");
  bring(join(root, "node_modules", "commander"), "app/node_modules/commander");
  bringPacked(join(root, "build-cuda", "Release", "llama2_cuda.node"), "app/build-cuda/Release/llama2_cuda.node.gz");
  bring(join(shared, "models", "stories260K.bin"), "shared/models/stories260K.bin");
  bring(join(shared, "golden", "generate-stories260K.json"), "shared/golden/generate-stories260K.json");
  for (const peer of peers) {
    if (!existsSync(peer)) throw new Error(`--with ${peer}: there is no such file`);
    bring(peer, join("peers", basename(peer)));
  }
  if (node) bringPacked(process.execPath, "node.gz");
  return missing;
}

function main() {
  const { values } = parseArgs({
    options: { with: { type: "string", multiple: true }, "no-node": { type: "boolean" } },
  });
  const bundle = join(root, "build-gpu");
  rmSync(bundle, { recursive: true, force: true });
  mkdirSync(bundle);
  const shared = process.env.LLAMA2_SHARED ?? join(root, "..", "shared");
  const missing = gather(bundle, shared, { node: !values["no-node"], peers: values.with ?? [] });

  const commit = git("rev-parse", "HEAD").trim() + (git("status", "--porcelain") === "" ? "" : "+");
  const files = filesOf(bundle);
  writeFileSync(join(bundle, "manifest.json"), `${JSON.stringify({ commit, files }, null, 1)}\n`);
  for (const path of missing) console.log(`not brought along: ${path} is not here`);

  const all = [...checkoutFiles(), ...filesOf(bundle).map((file) => ({ ...file, path: join("build-gpu", file.path) }))];
  const why = tooLarge(all);
  if (why) {
    console.error(`checkout and build-gpu/ are too large: ${why}`);
    process.exitCode = 1;
    return;
  }
  console.log(
    `checkout and build-gpu/: ${(sum(all) / 2 ** 20).toFixed(1)} MiB. On the box: python3 scripts/gpu-check.py`,
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
